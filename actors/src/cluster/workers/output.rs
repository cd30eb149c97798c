//! What a worker process writes, on its way to its driver.
//!
//! Owns: cutting it into lines, and finding out who wrote them ([`Byline`]). Invariants: what is passed on at once is bounded,
//! and a line that is too long is cut into several; a line bears the name under which it was begun; nothing that was in a pipe
//! when its worker ended is lost.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{net::unix::pipe::Receiver, process::Child};

use super::byline::Byline;
use crate::cluster::{
    node::NodeShared,
    wire::{FromNode, ProcessId, WorkerOutput},
};

/// Bytes passed on at once.
const OUTPUT_BYTES_MAX: usize = 32 << 10;

/// How long a driver that leaves waits for what its workers have written.
const FLUSH_MAX: Duration = Duration::from_millis(500);

/// The pipes of a worker, to look into.
pub(super) fn pipes_of(child: &Child) -> Vec<OwnedFd> {
    let stdout = child.stdout.as_ref().and_then(|out| out.as_fd().try_clone_to_owned().ok());
    let stderr = child.stderr.as_ref().and_then(|out| out.as_fd().try_clone_to_owned().ok());
    stdout.into_iter().chain(stderr).collect()
}

/// Waits until all that was written to pipes has been read, for a while: whoever writes all the time never ends.
pub(super) async fn until_empty(mut pipes: Vec<OwnedFd>) {
    let until = Instant::now() + FLUSH_MAX;
    while Instant::now() < until {
        pipes.retain(|pipe| rustix::io::ioctl_fionread(pipe).is_ok_and(|bytes| bytes > 0));
        if pipes.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Whose output it is.
pub(super) struct Writer {
    pub(super) shared: Arc<NodeShared>,
    pub(super) worker: ProcessId,
    pub(super) driver: ProcessId,
    pub(super) byline: Option<Byline>,
}

impl Writer {
    /// Passes on all that comes out of a pipe, until nobody can write to it any more.
    pub(super) async fn pass_on(self: Arc<Self>, pipe: OwnedFd, stderr: bool) {
        let pipe = match Receiver::from_owned_fd(pipe) {
            Ok(pipe) => pipe,
            Err(error) => return tracing::warn!(%error, worker = %self.worker, "what a worker writes is not heard"),
        };
        let mut lines = Lines::default();
        let mut part = vec![0; OUTPUT_BYTES_MAX];
        while pipe.readable().await.is_ok() {
            // No more than was there before the look: what comes later may be another's.
            let there = rustix::io::ioctl_fionread(&pipe).unwrap_or(0);
            let name = if there > 0 { self.byline.as_ref().and_then(Byline::look) } else { None };
            let most = usize::try_from(there).unwrap_or(usize::MAX).clamp(1, OUTPUT_BYTES_MAX);
            match pipe.try_read(&mut part[..most]) {
                Ok(0) => break,
                Ok(read) if there > 0 => lines.add(name, &part[..read], |whole| self.tell(stderr, whole)),
                // It came between the two: its author has not had time to end.
                Ok(read) => {
                    let name = self.byline.as_ref().and_then(Byline::look);
                    lines.add(name, &part[..read], |whole| self.tell(stderr, whole));
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        lines.end(|whole| self.tell(stderr, whole));
    }

    fn tell(&self, stderr: bool, Written { name, bytes }: Written<'_>) {
        let text = String::from_utf8_lossy(bytes).trim_end_matches('\n').to_owned();
        let output = WorkerOutput { worker: self.worker, name, stderr, text };
        self.shared.hub.to_process(self.driver, FromNode::Output(Box::new(output)));
    }
}

/// Lines of one author.
#[derive(Debug, PartialEq, Eq)]
struct Written<'a> {
    name: Option<String>,
    bytes: &'a [u8],
}

/// The beginning of a line whose end has not come yet, and who began it.
#[derive(Default)]
struct Lines {
    begun: Vec<u8>,
    name: Option<String>,
}

impl Lines {
    /// More bytes have come under a name; `tell` is given what is whole.
    fn add(&mut self, name: Option<String>, mut bytes: &[u8], mut tell: impl FnMut(Written<'_>)) {
        if !self.begun.is_empty() && name != self.name {
            let line = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
            self.begun.extend_from_slice(&bytes[..line]);
            bytes = &bytes[line..];
            if self.begun.ends_with(b"\n") || self.begun.len() >= OUTPUT_BYTES_MAX {
                self.end(&mut tell);
            }
        }
        if bytes.is_empty() {
            return;
        }
        self.name = name;
        self.begun.extend_from_slice(bytes);
        let whole = self.begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let whole = if whole == 0 && self.begun.len() >= OUTPUT_BYTES_MAX { self.begun.len() } else { whole };
        if whole > 0 {
            tell(Written { name: self.name.clone(), bytes: &self.begun[..whole] });
            self.begun.drain(..whole);
        }
    }

    /// Nothing more comes: what is left has no end.
    fn end(&mut self, mut tell: impl FnMut(Written<'_>)) {
        if !self.begun.is_empty() {
            tell(Written { name: self.name.take(), bytes: &self.begun });
            self.begun.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(parts: &[(&str, &str)]) -> Vec<String> {
        let (mut lines, mut told) = (Lines::default(), Vec::new());
        let mut tell = |written: Written<'_>| {
            let text = String::from_utf8_lossy(written.bytes).into_owned();
            told.push(format!("{}: {text:?}", written.name.unwrap_or_default()));
        };
        for (name, bytes) in parts {
            lines.add(Some((*name).to_owned()), bytes.as_bytes(), &mut tell);
        }
        lines.end(&mut tell);
        told
    }

    #[test]
    fn lines_are_passed_on_whole_under_the_name_that_began_them() {
        assert_eq!(told(&[("f", "a\nb\nc"), ("f", "d\n")]), [r#"f: "a\nb\n""#, r#"f: "cd\n""#]);
        assert_eq!(told(&[("f", "a"), ("g", "b\nc\n")]), [r#"f: "ab\n""#, r#"g: "c\n""#]);
        assert_eq!(told(&[("f", "a"), ("g", "b"), ("h", "c\n")]), [r#"f: "abc\n""#]);
    }

    #[test]
    fn last_words_need_no_end_of_line() {
        assert_eq!(told(&[("f", "a\nb")]), [r#"f: "a\n""#, r#"f: "b""#]);
    }

    #[test]
    fn a_line_that_never_ends_is_cut() {
        let long = "x".repeat(OUTPUT_BYTES_MAX);
        let told = told(&[("f", "a"), ("g", &long), ("g", "b\n")]);
        assert_eq!(told.len(), 2);
        assert_eq!(told[1], r#"g: "b\n""#);
    }
}
