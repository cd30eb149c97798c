//! Putting together what several shards answer to one request.
//!
//! Owns: the order of a merged listing and where it goes on, and the places of answers about several ids. Invariants: a
//! listing taken page by page gives every row that was there all the time exactly once: a page ends where the first shard
//! with more rows ended, or earlier; each id has its answer in its own place, whatever shard gave it.

use actinic_gcs::tables::{keys, EventRead, FunctionRead, KeyValueRead, ObjectRead, Page, PageRequest, Read, Reply};
use bytes::Bytes;

use super::GcsError;

/// What the answers are parts of.
#[derive(Debug)]
pub(super) enum Whole {
    /// A write, whose parts all give the same: done.
    Done,
    /// This listing.
    Pages(Read),
    /// A read of several ids: where the answers of each part belong.
    Places(Vec<Vec<usize>>),
}

/// One answer, from those of all that were asked.
pub(super) fn merge(whole: &Whole, replies: Vec<Reply>) -> Result<Reply, GcsError> {
    let read = match whole {
        Whole::Done => return Ok(replies.into_iter().last().unwrap_or(Reply::Done)),
        Whole::Places(places) => return merge_places(places, replies),
        Whole::Pages(read) => read,
    };
    match read {
        Read::KeyValue(KeyValueRead::List { namespace, page, .. }) => {
            let row = |key: &Bytes| keys::scoped(namespace, key);
            Ok(Reply::Keys(merge_pages(pages(replies, "keys", keys_of)?, page, row)))
        }
        Read::Function(FunctionRead::List(page)) => {
            let pages = pages(replies, "functions", functions_of)?;
            Ok(Reply::Functions(merge_pages(pages, page, |function| keys::wide(function.id.0))))
        }
        Read::Object(ObjectRead::List(page)) => {
            let pages = pages(replies, "objects", objects_of)?;
            Ok(Reply::ObjectPage(merge_pages(pages, page, |object| keys::object(object.id))))
        }
        Read::Event(EventRead::List(page)) => {
            let pages = pages(replies, "events", events_of)?;
            Ok(Reply::Events(merge_pages(pages, page, |(number, _)| keys::number(*number))))
        }
        _ => Err(GcsError::UnexpectedReply { asked: "a read of every shard" }),
    }
}

/// A function that takes one kind of page out of a reply.
macro_rules! page_of {
    ($($name:ident: $variant:ident($item:ty)),+ $(,)?) => {
        $(fn $name(reply: Reply) -> Option<Page<$item>> {
            match reply {
                Reply::$variant(page) => Some(page),
                _ => None,
            }
        })+
    };
}

page_of! {
    keys_of: Keys(Bytes),
    functions_of: Functions(actinic_gcs::spec::FunctionInfo),
    objects_of: ObjectPage(actinic_gcs::spec::ObjectInfo),
    events_of: Events((u64, actinic_gcs::spec::Event)),
}

fn pages<T>(
    replies: Vec<Reply>,
    asked: &'static str,
    page_of: impl Fn(Reply) -> Option<Page<T>>,
) -> Result<Vec<Page<T>>, GcsError> {
    replies.into_iter().map(|reply| page_of(reply).ok_or(GcsError::UnexpectedReply { asked })).collect()
}

/// The answers to several ids, each in its place.
fn merge_places(places: &[Vec<usize>], replies: Vec<Reply>) -> Result<Reply, GcsError> {
    let (mut tasks, mut objects) = (Vec::new(), Vec::new());
    for reply in replies {
        match reply {
            Reply::Tasks(part) => tasks.push(part),
            Reply::Objects(part) => objects.push(part),
            _ => return Err(GcsError::UnexpectedReply { asked: "a read of several ids" }),
        }
    }
    let whole = if objects.is_empty() {
        in_place(places, tasks).map(Reply::Tasks)
    } else {
        in_place(places, objects).map(Reply::Objects)
    };
    whole.ok_or(GcsError::UnexpectedReply { asked: "a read of several ids" })
}

/// Nothing where there are more or fewer answers than places.
fn in_place<T>(places: &[Vec<usize>], parts: Vec<Vec<T>>) -> Option<Vec<T>> {
    let count = places.iter().map(Vec::len).sum();
    let mut whole: Vec<Option<T>> = std::iter::repeat_with(|| None).take(count).collect();
    if parts.len() != places.len() {
        return None;
    }
    for (places, part) in places.iter().zip(parts) {
        if places.len() != part.len() {
            return None;
        }
        for (place, answer) in places.iter().zip(part) {
            *whole.get_mut(*place)? = Some(answer);
        }
    }
    whole.into_iter().collect()
}

/// One page from one of each shard. Rows of different shards that have the same key (events) stay on one page, so it may
/// be longer than asked by as many.
pub(super) fn merge_pages<T>(pages: Vec<Page<T>>, asked: &PageRequest, row: impl Fn(&T) -> Bytes) -> Page<T> {
    let horizon = pages.iter().filter_map(|page| page.next.clone()).min();
    let mut rows: Vec<(Bytes, T)> =
        pages.into_iter().flat_map(|page| page.items).map(|item| (row(&item), item)).collect();
    rows.sort_by(|(one, _), (other, _)| one.cmp(other));
    let within = horizon.as_ref().map_or(rows.len(), |last| rows.partition_point(|(key, _)| key <= last));
    let mut len = within.min(asked.limit.max(1) as usize);
    while len > 0 && len < within && rows[len].0 == rows[len - 1].0 {
        len += 1;
    }
    let more = horizon.is_some() || len < rows.len();
    let next = if more { rows.get(len.wrapping_sub(1)).map(|(key, _)| key.clone()).or(horizon) } else { None };
    rows.truncate(len);
    Page { items: rows.into_iter().map(|(_, item)| item).collect(), next }
}
