//! Tests of frames and first words, without sockets.

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::{
    gcs_client::messages::{AnswerFrame, Frame},
    gcs_net::{
        admin::{AdminAnswer, AdminAsk},
        wire::{decode, preamble, take_frame, version_of, FrameError, Token},
    },
};

#[test]
fn a_token_is_never_shown() {
    let shown = format!("{:?}", membership());
    assert!(!shown.contains("sesame"), "{shown}");
    assert!(Token::new("").is_err());
}

#[test]
fn a_length_beyond_the_bound_is_refused_before_anything_is_read() {
    let mut bytes = BytesMut::from(&[0xff_u8; 4][..]);
    assert!(matches!(take_frame(&mut bytes, 10), Err(FrameError::TooLong { max: 10, .. })));
}

#[test]
fn a_preamble_tells_its_version_and_nothing_else_is_one() {
    assert_eq!(version_of(preamble(513)).unwrap(), 513);
    assert!(matches!(version_of(*b"GET / HTTP"), Err(FrameError::Foreign)));
}

proptest! {
    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut(
        bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8),
        cut in 1..16_usize,
    ) {
        let mut wire = BytesMut::new();
        for body in &bodies {
            wire.put_u32_le(body.len() as u32);
            wire.put_slice(body);
        }
        let (mut arrived, mut seen) = (BytesMut::new(), Vec::new());
        for piece in wire.chunks(cut) {
            arrived.put_slice(piece);
            while let Some(frame) = take_frame(&mut arrived, 64).unwrap() {
                seen.push(frame.to_vec());
            }
        }
        prop_assert_eq!(seen, bodies);
        prop_assert!(arrived.is_empty());
    }

    #[test]
    fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
        let _ = decode::<Hello>(&bytes);
        let _ = decode::<Verdict>(&bytes);
        let _ = decode::<Frame>(&bytes);
        let _ = decode::<AnswerFrame>(&bytes);
        let _ = decode::<AdminAsk>(&bytes);
        let _ = decode::<AdminAnswer>(&bytes);
        let mut stream = BytesMut::from(&bytes[..]);
        while let Ok(Some(_)) = take_frame(&mut stream, 64) {}
        if let Some(first) = bytes.first_chunk() {
            let _ = version_of(*first);
        }
    }
}
