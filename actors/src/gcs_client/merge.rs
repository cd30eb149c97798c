//! Putting together what several shards answer to one request.
//!
//! Owns: the order of a merged listing and where it goes on. Invariant: a listing taken page by page gives every row that
//! was there all the time exactly once: a page ends where the first shard with more rows ended, or earlier.

use actinic_gcs::tables::{keys, EventRead, FunctionRead, KeyValueRead, ObjectRead, Page, PageRequest, Read, Reply};
use bytes::Bytes;

use super::GcsError;

/// The answer to `read`, from the answers of all that it was sent to; without it, to a write in parts.
pub(super) fn merge(read: Option<&Read>, replies: Vec<Reply>) -> Result<Reply, GcsError> {
    match read {
        // Parts of one write give the same: done.
        None => Ok(replies.into_iter().last().unwrap_or(Reply::Done)),
        Some(Read::KeyValue(KeyValueRead::List { namespace, page, .. })) => {
            let row = |key: &Bytes| keys::scoped(namespace, key);
            Ok(Reply::Keys(merge_pages(pages(replies, "keys", keys_of)?, page, row)))
        }
        Some(Read::Function(FunctionRead::List(page))) => {
            let pages = pages(replies, "functions", functions_of)?;
            Ok(Reply::Functions(merge_pages(pages, page, |function| keys::wide(function.id.0))))
        }
        Some(Read::Object(ObjectRead::List(page))) => {
            let pages = pages(replies, "objects", objects_of)?;
            Ok(Reply::ObjectPage(merge_pages(pages, page, |object| keys::object(object.id))))
        }
        Some(Read::Event(EventRead::List(page))) => {
            let pages = pages(replies, "events", events_of)?;
            Ok(Reply::Events(merge_pages(pages, page, |(number, _)| keys::number(*number))))
        }
        Some(_) => Err(GcsError::UnexpectedReply { asked: "a read of every shard" }),
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
