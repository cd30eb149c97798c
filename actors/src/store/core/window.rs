//! Which neighbours to spill so that one long enough piece of memory comes free.
//!
//! Spilling the least recently used objects wherever they lie may free much and still leave no piece that is long
//! enough. So room is made in one window of adjacent objects and holes: of all windows that are long enough, the one
//! whose most recently used object was used least recently. One pass over the segment, only when it is full.

use std::collections::VecDeque;

/// A stretch of the segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile<K> {
    pub(super) start: usize,
    pub(super) len: usize,
    pub(super) content: Content<K>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Content<K> {
    Free,
    /// An object that can be spilled, and when it was last used.
    Spillable(K, u64),
    /// An object that must stay where it is.
    Fixed,
}

impl<K> Tile<K> {
    fn spilled_bytes(&self) -> usize {
        match self.content {
            Content::Spillable(..) => self.len,
            Content::Free | Content::Fixed => 0,
        }
    }
}

/// Adjacent tiles that may all come free.
#[derive(Default)]
struct Window {
    left: usize,
    bytes: usize,
    spilled_bytes: usize,
    /// Candidates for the latest use: tile and time, times falling.
    latest: VecDeque<(usize, u64)>,
}

impl Window {
    fn starting_at(left: usize) -> Self {
        Self { left, ..Self::default() }
    }

    fn push<K>(&mut self, at: usize, tile: &Tile<K>, used_at: u64) {
        while self.latest.back().is_some_and(|(_, earlier)| *earlier <= used_at) {
            self.latest.pop_back();
        }
        self.latest.push_back((at, used_at));
        self.bytes += tile.len;
        self.spilled_bytes += tile.spilled_bytes();
    }

    /// Leaves out from the left what is not needed.
    fn narrow<K>(&mut self, tiles: &[Tile<K>], needed: usize) {
        while self.bytes - tiles[self.left].len >= needed {
            self.bytes -= tiles[self.left].len;
            self.spilled_bytes -= tiles[self.left].spilled_bytes();
            if self.latest.front().is_some_and(|(at, _)| *at == self.left) {
                self.latest.pop_front();
            }
            self.left += 1;
        }
    }

    /// The less, the better: by latest use, then by bytes to write.
    fn cost(&self) -> (u64, usize) {
        (self.latest.front().map_or(0, |(_, used_at)| *used_at), self.spilled_bytes)
    }
}

/// The objects to spill for a free piece of `needed` bytes; `None` if there is no such window. Tiles come in order of
/// their start; what they leave out must stay where it is.
pub(super) fn choose<K: Copy>(tiles: &[Tile<K>], needed: usize) -> Option<Vec<K>> {
    let mut best = None;
    let mut window = Window::default();
    for (at, tile) in tiles.iter().enumerate() {
        let used_at = match tile.content {
            Content::Free => 0,
            Content::Spillable(_, used_at) => used_at,
            Content::Fixed => {
                window = Window::starting_at(at + 1);
                continue;
            }
        };
        if at > window.left && tiles[at - 1].start + tiles[at - 1].len != tile.start {
            window = Window::starting_at(at);
        }
        window.push(at, tile, used_at);
        window.narrow(tiles, needed);
        if window.bytes >= needed && best.as_ref().is_none_or(|(least, _)| window.cost() < *least) {
            best = Some((window.cost(), window.left..=at));
        }
    }
    let (_, range) = best?;
    let spillable = tiles[range].iter().filter_map(|tile| match tile.content {
        Content::Spillable(key, _) => Some(key),
        Content::Free | Content::Fixed => None,
    });
    Some(spillable.collect())
}

#[cfg(test)]
mod tests {
    use super::{Content::*, *};

    fn tiles(contents: &[(usize, Content<char>)]) -> Vec<Tile<char>> {
        let mut start = 0;
        contents
            .iter()
            .map(|(len, content)| {
                start += len;
                Tile { start: start - len, len: *len, content: *content }
            })
            .collect()
    }

    #[test]
    fn the_window_that_was_idle_for_longest_is_chosen() {
        let tiles = tiles(&[(64, Spillable('a', 9)), (64, Spillable('b', 1)), (64, Spillable('c', 2)), (64, Free)]);
        assert_eq!(choose(&tiles, 64), Some(vec![]));
        assert_eq!(choose(&tiles, 128), Some(vec!['c']));
        assert_eq!(choose(&tiles, 192), Some(vec!['b', 'c']));
        assert_eq!(choose(&tiles, 256), Some(vec!['a', 'b', 'c']));
        assert_eq!(choose(&tiles, 257), None);
    }

    #[test]
    fn no_window_spans_what_must_stay() {
        let tiles = tiles(&[(128, Spillable('a', 5)), (64, Fixed), (64, Spillable('b', 1)), (64, Free)]);
        assert_eq!(choose(&tiles, 128), Some(vec!['b']));
        assert_eq!(choose(&tiles, 192), None);
    }

    #[test]
    fn no_window_spans_a_stretch_that_is_left_out() {
        let mut tiles = tiles(&[(64, Free), (64, Fixed), (64, Free)]);
        tiles.remove(1);
        assert_eq!(choose(&tiles, 128), None);
    }
}
