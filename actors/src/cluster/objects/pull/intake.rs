//! How fast objects come in.
//!
//! Owns: that measurement, for the global scheduler, which weighs what the transfer of a task's inputs takes. A core: it is told
//! the time. What counts is the time while anything was under way, over all chunks at once, so that pulls that share a link
//! do not look slow each.

/// So much must have come for a measurement: less says more of a round trip than of the link.
pub const MEASURED_BYTES_MIN: u64 = 1 << 20;
/// A measurement is given at least this often while much comes.
const MEASURED_BYTES_MAX: u64 = 64 << 20;

/// What came, and how long that took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Came {
    /// How many bytes.
    pub bytes: u64,
    /// In how many microseconds.
    pub took_us: u64,
}

/// The state.
#[derive(Debug, Default)]
pub struct Intake {
    under_way: usize,
    since_us: u64,
    bytes: u64,
}

impl Intake {
    /// A chunk is asked for.
    pub fn on_asked(&mut self, now_us: u64) {
        if self.under_way == 0 {
            (self.since_us, self.bytes) = (now_us, 0);
        }
        self.under_way += 1;
    }

    /// A chunk that was asked for has come with so many bytes, or with none, since it will not come.
    pub fn on_answered(&mut self, now_us: u64, bytes: u64) -> Option<Came> {
        self.under_way = self.under_way.saturating_sub(1);
        self.bytes += bytes;
        let is_due = self.under_way == 0 || self.bytes >= MEASURED_BYTES_MAX;
        if !is_due || self.bytes < MEASURED_BYTES_MIN {
            return None;
        }
        let came = Came { bytes: self.bytes, took_us: now_us.saturating_sub(self.since_us).max(1) };
        (self.since_us, self.bytes) = (now_us, 0);
        Some(came)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: u64 = 4 << 20;

    #[test]
    fn chunks_that_come_at_once_are_measured_together_and_pauses_are_not() {
        let mut intake = Intake::default();
        intake.on_asked(1_000);
        intake.on_asked(1_500);
        assert_eq!(intake.on_answered(3_000, CHUNK), None);
        assert_eq!(intake.on_answered(5_000, CHUNK), Some(Came { bytes: 2 * CHUNK, took_us: 4_000 }));
        intake.on_asked(1_000_000);
        assert_eq!(intake.on_answered(1_002_000, CHUNK), Some(Came { bytes: CHUNK, took_us: 2_000 }));
    }

    #[test]
    fn what_is_small_or_did_not_come_is_not_measured() {
        let mut intake = Intake::default();
        intake.on_asked(0);
        assert_eq!(intake.on_answered(500, MEASURED_BYTES_MIN - 1), None);
        intake.on_asked(1_000);
        assert_eq!(intake.on_answered(9_000, 0), None);
    }

    #[test]
    fn an_endless_stream_is_measured_again_and_again() {
        let mut intake = Intake::default();
        intake.on_asked(0);
        let mut measured = 0;
        for chunk in 1..=100 {
            intake.on_asked(chunk * 1_000);
            measured += usize::from(intake.on_answered(chunk * 1_000, CHUNK).is_some());
        }
        assert_eq!(measured, 100 / 16);
    }
}
