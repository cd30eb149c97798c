//! Where the nodes of a machine are found: a folder of their user's own.
//!
//! Owns: the run folder, one folder a node in it, and what a node says of itself there. Does not own sockets. Invariants:
//! only the user can look inside; a node holds a lock as long as it lives, however it ends, and what a dead node left is
//! removed by whoever looks next.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use actinic_gcs::NodeId;
use serde::{Deserialize, Serialize};

/// Names another run folder.
pub const RUN_FOLDER: &str = "ACTINIC_RUN_DIR";

/// Attempts to remove a folder into which somebody writes.
const REMOVALS_MAX: u32 = 10;

/// What a node says of itself to those on its machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeCard {
    /// Its id, as text.
    pub node: String,
    /// Its operating-system process.
    pub pid: u32,
    /// Where others reach it.
    pub address: String,
    /// Where the head node of its cluster is reached.
    pub head: String,
    /// The cluster's id, as text.
    pub cluster: String,
    /// The cluster's token.
    pub token: String,
    /// Whether it is the head.
    pub is_head: bool,
    /// Where all nodes of its cluster are reached, as far as it knows.
    #[serde(default)]
    pub nodes: Vec<String>,
}

impl NodeCard {
    /// Whether the node is of the cluster at `address`: one that any of its nodes has, or several, separated by commas.
    #[must_use]
    pub fn is_of(&self, address: &str) -> bool {
        let own = [&self.address, &self.head];
        address.split(',').map(str::trim).any(|one| {
            ["auto", "local"].contains(&one)
                || own.into_iter().chain(&self.nodes).any(|known| known.split(',').any(|known| known == one))
        })
    }
}

/// One node's folder, while it lives.
#[derive(Debug)]
pub struct NodeFolder {
    path: PathBuf,
    _lock: File,
}

/// The folder of all nodes of this user.
///
/// # Errors
/// That it cannot be made, or belongs to somebody else.
pub fn run_folder() -> io::Result<PathBuf> {
    let path = match (std::env::var_os(RUN_FOLDER), std::env::var_os("XDG_RUNTIME_DIR")) {
        (Some(folder), _) => PathBuf::from(folder),
        (None, Some(folder)) if Path::new(&folder).is_dir() => PathBuf::from(folder).join("actinic"),
        _ => std::env::temp_dir().join(format!("actinic-{}", crate::store::user_id())),
    };
    private_folder(&path)?;
    Ok(path)
}

fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_dir() || meta.uid() != crate::store::user_id() || meta.mode() & 0o077 != 0 {
        let why = format!("{} is not a folder of this user alone (mode 0700)", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(())
}

fn name_of(node: NodeId) -> String {
    format!("node-{:08x}", node.0 >> 96)
}

impl NodeFolder {
    /// Makes a node's folder, and removes those of dead nodes.
    ///
    /// # Errors
    /// What the system says.
    pub fn make(node: NodeId) -> io::Result<Self> {
        let run = run_folder()?;
        sweep(&run);
        let path = run.join(name_of(node));
        private_folder(&path)?;
        let lock = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::new(io::ErrorKind::AlreadyExists, "another node has this folder"),
            TryLockError::Error(error) => error,
        })?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The node's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path.join("node.sock")
    }

    /// The socket of one of its processes.
    #[must_use]
    pub fn process_socket(&self, worker: actinic_gcs::WorkerId) -> PathBuf {
        self.path.join(format!("p{}.sock", worker.0))
    }

    /// Says where the node is: from now on it can be found.
    ///
    /// # Errors
    /// What the system says.
    pub fn publish(&self, card: &NodeCard) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(card).map_err(io::Error::other)?;
        let draft = self.path.join("card.draft");
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
        io::Write::write_all(&mut file, &text)?;
        fs::rename(draft, self.path.join("card.json"))
    }
}

impl NodeFolder {
    /// Removes it, though somebody still knows of it: nobody finds the node any more.
    pub fn remove(&self) {
        for _ in 0..REMOVALS_MAX {
            // Whoever writes into it at this moment keeps it from being empty.
            match fs::remove_dir_all(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                _ => return,
            }
        }
    }
}

impl Drop for NodeFolder {
    fn drop(&mut self) {
        self.remove();
    }
}

/// A node of this machine that lives.
#[derive(Clone, Debug)]
pub struct Found {
    /// What it says of itself.
    pub card: NodeCard,
    /// Its folder.
    pub path: PathBuf,
}

impl Found {
    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path.join("node.sock")
    }
}

/// All nodes of this user on this machine that live; heads first.
///
/// # Errors
/// What the system says.
pub fn find() -> io::Result<Vec<Found>> {
    let run = run_folder()?;
    sweep(&run);
    let mut found = Vec::new();
    for path in node_folders(&run) {
        let Ok(text) = fs::read(path.join("card.json")) else { continue };
        if let Ok(card) = serde_json::from_slice::<NodeCard>(&text) {
            found.push(Found { card, path });
        }
    }
    found.sort_by_key(|found| (!found.card.is_head, found.card.pid));
    Ok(found)
}

fn node_folders(run: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(run) else { return Vec::new() };
    let is_node =
        |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("node-"));
    entries.flatten().map(|entry| entry.path()).filter(is_node).collect()
}

/// Removes the folders of nodes that are dead: nobody holds their locks.
fn sweep(run: &Path) {
    for path in node_folders(run) {
        let Ok(lock) = OpenOptions::new().write(true).open(path.join("lock")) else { continue };
        if lock.try_lock().is_ok() {
            let _ = fs::remove_dir_all(&path);
        }
    }
}
