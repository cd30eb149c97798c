//! Settings of a runtime.

use std::{path::PathBuf, sync::Arc, time::Duration};

use actinic_actors::{
    bootstrap::RunningNode,
    cluster::{
        core_worker::{Connection, CoreWorker, DriverInfo},
        wire::{is_anonymous, DEFAULT_NAMESPACE},
    },
    node::{GcsStorage, NodeConfig, INLINE_BYTES_MAX},
    pool::PoolLimits,
    store::StoreConfig,
};
use actinic_gcs::{
    resources::{CPU, GPU, MEMORY},
    JobId, ResourceSet,
};

use crate::{
    cluster,
    error::{Error, Result},
    runtime::Runtime,
};

/// Settings of a runtime that is to be started, under Ray's names.
#[derive(Clone, Debug)]
#[must_use = "nothing starts before init()"]
pub struct RuntimeBuilder {
    num_cpus: Option<f64>,
    num_gpus: f64,
    memory: Option<u64>,
    resources: ResourceSet,
    namespace: Option<String>,
    record_graph: Option<usize>,
    store: StoreConfig,
    inline_bytes_max: usize,
    threads_max: usize,
    seed: u64,
    gcs: GcsStorage,
    address: Option<String>,
    env: Vec<(String, String)>,
    log_to_driver: bool,
}

impl Default for RuntimeBuilder {
    fn default() -> Self {
        Self {
            num_cpus: None,
            num_gpus: 0.0,
            memory: None,
            resources: ResourceSet::new(),
            namespace: None,
            record_graph: None,
            store: StoreConfig::default(),
            inline_bytes_max: INLINE_BYTES_MAX,
            threads_max: PoolLimits::default().threads_max,
            seed: 0,
            gcs: GcsStorage::default(),
            address: None,
            env: Vec::new(),
            log_to_driver: true,
        }
    }
}

/// Between looks at what waits, in a process of a cluster.
const CLUSTER_LOOK_EVERY: std::time::Duration = std::time::Duration::from_micros(400);

impl RuntimeBuilder {
    /// CPUs; those of the machine unless set. Logical: nothing keeps a task from using more.
    pub fn num_cpus(mut self, units: impl Into<f64>) -> Self {
        self.num_cpus = Some(units.into());
        self
    }

    /// GPUs, numbered from 0; none unless set. Logical: a task is told which are its own.
    pub fn num_gpus(mut self, units: impl Into<f64>) -> Self {
        self.num_gpus = units.into();
        self
    }

    /// Bytes of memory that tasks may ask for; the machine's unless set.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// A resource of your own.
    pub fn resource(mut self, name: &str, units: f64) -> Self {
        self.resources = self.resources.with(name, units);
        self
    }

    /// The namespace of actors' names and of the key-value store. Unless it is set, `default`; but in a cluster a job then has
    /// a namespace of its own for the names of its actors (as in Ray), so that jobs that know nothing of each other do not
    /// collide: set one to find actors of other jobs.
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Keeps the task graph of the whole run, up to this many tasks.
    pub fn record_graph(mut self, tasks_max: usize) -> Self {
        self.record_graph = Some(tasks_max);
        self
    }

    /// Bytes of the object store; 30 % of the machine's memory unless set.
    pub fn object_store_memory(mut self, bytes: usize) -> Self {
        self.store.capacity_bytes = bytes;
        self
    }

    /// Where objects spill to when the store is full; a temporary folder unless set.
    pub fn spill_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.store.spill_dir = Some(folder.into());
        self
    }

    /// Bytes that may be spilled; no bound but the disk unless set.
    pub fn spill_bytes_max(mut self, bytes: u64) -> Self {
        self.store.spill_bytes_max = Some(bytes);
        self
    }

    /// How long a `put` waits for room in a full store before it fails.
    pub fn put_timeout(mut self, longest: Duration) -> Self {
        self.store.put_timeout = longest;
        self
    }

    /// Objects up to this size stay in memory as they are; 100 KiB unless set.
    pub fn inline_bytes_max(mut self, bytes: usize) -> Self {
        self.inline_bytes_max = bytes;
        self
    }

    /// Worker threads at most, blocked ones included; 8,192 unless set.
    pub fn worker_threads_max(mut self, threads: usize) -> Self {
        self.threads_max = threads;
        self
    }

    /// Seed of what is random in the runtime's decisions.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Keeps the control store in `folder`, where the next runtime that is given the same one finds it: user values
    /// ([`Runtime::kv_put`]), and the record of jobs, nodes and actors. One runtime at a time can use a folder. Without it the
    /// control store is in memory and ends with the runtime.
    #[cfg(feature = "rocksdb")]
    pub fn gcs_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        let durability = match self.gcs {
            GcsStorage::Folder { durability, .. } => durability,
            _ => actinic_gcs::store::Durability::default(),
        };
        self.gcs = GcsStorage::Folder { path: folder.into(), durability };
        self
    }

    /// Keeps the control store on disk, in a folder of its own within the system's temporary one (`TMPDIR`), so that a run of
    /// any length takes a bounded amount of memory. The folder is removed when the runtime ends; that of a program that was
    /// killed is removed by the next start. Nothing in it is meant to last, so nothing waits for the disk.
    #[cfg(feature = "rocksdb")]
    pub fn gcs_temporary_folder(mut self) -> Self {
        self.gcs = GcsStorage::Temporary;
        self
    }

    /// What an answer to a write of the control store promises, if it is in a [folder](Self::gcs_folder), to be named
    /// before: [`Durability::Fsync`](actinic_gcs::store::Durability::Fsync) unless set.
    #[cfg(feature = "rocksdb")]
    pub fn gcs_durability(mut self, durability: actinic_gcs::store::Durability) -> Self {
        if let GcsStorage::Folder { durability: present, .. } = &mut self.gcs {
            *present = durability;
        }
        self
    }

    /// Connects to a cluster instead of running embedded: `host:port` of any of its nodes, of which one runs on this
    /// machine, or `auto` for whatever runs here. The environment's `ACTINIC_ADDRESS` does the same.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// An environment variable of the workers that a cluster starts for this program.
    pub fn env_var(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Whether the program prints, on its own outputs, what the workers that a cluster starts for it write (as Ray's
    /// `log_to_driver`): it does, unless this says otherwise.
    pub fn log_to_driver(mut self, prints: bool) -> Self {
        self.log_to_driver = prints;
        self
    }

    /// Starts it: connected to a cluster if an address is given, else embedded in this process.
    ///
    /// In a worker that a cluster has started from this executable this does not return: the process serves the cluster, and
    /// ends with it.
    ///
    /// # Errors
    /// If a setting makes no sense, threads cannot be started, or the cluster cannot be reached.
    pub fn init(self) -> Result<Runtime> {
        cluster::play_role();
        let address = self.address.clone().or_else(|| std::env::var("ACTINIC_ADDRESS").ok());
        let Some(address) = address.filter(|address| !address.is_empty()) else {
            return Ok(Runtime::own(RunningNode::start(self.config()?)?));
        };
        let functions = cluster::functions();
        let info = DriverInfo {
            namespace: self.namespace.clone().unwrap_or_default(),
            env: self.env.clone(),
            functions: functions.len() as u32,
        };
        let connection = Connection::driver(&address, info)?;
        let core = CoreWorker::new(connection, functions, crate::actor::remote::classes());
        core.log_to_driver(self.log_to_driver);
        self.join(core)
    }

    /// Takes part in a cluster.
    pub(crate) fn join(self, core: Arc<CoreWorker>) -> Result<Runtime> {
        let mut config = self.config()?;
        let membership = core.welcome.membership().map_err(|error| Error::Unsupported(error.to_string()))?;
        config.gcs = GcsStorage::Cluster { membership, shards: core.welcome.gcs.clone() };
        config.job = core.welcome.code.job;
        let namespace = &core.welcome.code.namespace;
        config.namespace.clone_from(namespace);
        config.kv_namespace = if is_anonymous(namespace) { DEFAULT_NAMESPACE.to_owned() } else { namespace.clone() };
        config.cluster = Some(core);
        // What is sent and heard needs no look; three processes that look often would take much of a small machine.
        config.pool.look_every = CLUSTER_LOOK_EVERY;
        Ok(Runtime::own(RunningNode::start(config)?))
    }

    fn config(self) -> Result<NodeConfig> {
        let detected = std::thread::available_parallelism().map_or(1.0, |cpus| cpus.get() as f64);
        let cpus = self.num_cpus.unwrap_or(detected);
        for (name, value) in [("num_cpus", cpus), ("num_gpus", self.num_gpus)] {
            if !(0.0..=1e6).contains(&value) {
                let hint = "give a number from 0 to 1,000,000".to_owned();
                return Err(Error::Setting { name, value: value.to_string(), hint });
            }
        }
        if cpus < 1.0 {
            let hint = "an embedded runtime needs at least one CPU to run ordinary tasks".to_owned();
            return Err(Error::Setting { name: "num_cpus", value: cpus.to_string(), hint });
        }
        if self.threads_max < 2 {
            let hint = "at least 2 are needed".to_owned();
            return Err(Error::Setting { name: "worker_threads_max", value: self.threads_max.to_string(), hint });
        }
        let namespace = self.namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        let memory = self.memory.unwrap_or_else(actinic_actors::cluster::node::machine_memory) as f64;
        Ok(NodeConfig {
            resources: self.resources.with(CPU, cpus).with(GPU, self.num_gpus).with(MEMORY, memory),
            store: self.store,
            job: JobId(1),
            kv_namespace: namespace.clone(),
            namespace,
            record_graph: self.record_graph,
            pool: PoolLimits { threads_max: self.threads_max, ..PoolLimits::default() },
            inline_bytes_max: self.inline_bytes_max,
            arbiters: 2,
            seed: self.seed,
            gcs: self.gcs,
            cluster: None,
        })
    }
}
