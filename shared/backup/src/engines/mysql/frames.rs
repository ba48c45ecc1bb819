//! A stream as zstd frames (RFC 8878), one after the other: any `zstd -d` reads them as one.
//!
//! Frames are independent, so that all cores compress, and each carries the checksum of its contents.

use std::{collections::VecDeque, io, thread};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
};

use crate::{engines::segments::SegmentWriter, error::SliceError};

/// What a frame holds, in bytes before it is compressed. Larger ones compress hardly better.
const PIECE_BYTES: usize = 4 * 1024 * 1024;

/// zstd's own default.
const LEVEL: i32 = 3;

/// Frames in the making, at most: with their pieces 8 MiB each, below 64 MiB together.
const MAKING_MAX: usize = 6;

/// How much of the end of the stream is kept, in bytes.
const TAIL_BYTES: usize = 256;

/// Compresses all of `raw` into `out`, and shows it to `look` as it goes by. Returns the last bytes of `raw`, for whoever knows how it has to end.
pub(super) async fn compress(
    mut raw: impl AsyncRead + Unpin,
    out: &mut SegmentWriter,
    mut look: impl FnMut(&[u8]),
) -> Result<Vec<u8>, SliceError> {
    let making = thread::available_parallelism().map_or(1, usize::from).clamp(1, MAKING_MAX - 2);
    // One more is being awaited, and one more waits to be sent.
    let (sender, mut frames) = mpsc::channel::<JoinHandle<io::Result<Bytes>>>(making);
    let reading = async {
        let mut tail = VecDeque::new();
        loop {
            let piece = next_piece(&mut raw).await.map_err(|error| broken(&error))?;
            if piece.is_empty() {
                break;
            }
            look(&piece);
            tail.extend(&piece[piece.len().saturating_sub(TAIL_BYTES)..]);
            tail.drain(..tail.len().saturating_sub(TAIL_BYTES));
            // The writer ends first only with an error, which is told there.
            if sender.send(spawn_blocking(move || frame(&piece))).await.is_err() {
                break;
            }
        }
        drop(sender);
        Ok::<_, SliceError>(Vec::from(tail))
    };
    let writing = async {
        while let Some(frame) = frames.recv().await {
            let frame = frame.await.map_err(io::Error::other).flatten().map_err(|error| broken(&error))?;
            out.write_bytes(frame).await?;
        }
        Ok(())
    };
    let (tail, ()) = tokio::try_join!(reading, writing)?;
    Ok(tail)
}

/// The next bytes of `raw`: a full piece, or what is left.
async fn next_piece(raw: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
    let mut piece = BytesMut::with_capacity(PIECE_BYTES);
    while piece.len() < PIECE_BYTES {
        let room = (PIECE_BYTES - piece.len()) as u64;
        if (&mut *raw).take(room).read_buf(&mut piece).await? == 0 {
            break;
        }
    }
    Ok(piece.freeze())
}

fn frame(piece: &[u8]) -> io::Result<Bytes> {
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    compressor.include_checksum(true)?;
    compressor.compress(piece).map(Bytes::from)
}

fn broken(error: &io::Error) -> SliceError {
    SliceError::transient(
        "dump_failed",
        format!("the dump could not be read and compressed: {error}; check the worker's memory"),
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::engines::segments::channel;

    #[rstest]
    #[case::one_byte(1)]
    #[case::one_piece(PIECE_BYTES)]
    #[case::a_byte_more(PIECE_BYTES + 1)]
    #[case::more_than_are_made_at_once(9 * PIECE_BYTES + 77)]
    #[tokio::test]
    async fn the_frames_are_the_stream(#[case] length: usize) {
        let mut state = 1_u32;
        let raw: Vec<u8> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                b'a' + u8::try_from(state >> 28).unwrap()
            })
            .collect();
        let (sender, mut receiver) = channel("a key");
        let writing = async {
            let mut out = SegmentWriter::new(sender);
            // A pipe gives little at a time.
            let tail = compress(tokio::io::BufReader::with_capacity(65_536, &raw[..]), &mut out, |_| ())
                .await
                .unwrap();
            out.finish().await.unwrap();
            tail
        };
        let receiving = async {
            let mut stored = Vec::new();
            while let Some(held) = receiver.next().await {
                stored.extend_from_slice(&held.segment.bytes);
            }
            stored
        };
        let (tail, stored) = tokio::join!(writing, receiving);
        assert!(zstd::decode_all(&stored[..]).unwrap() == raw);
        assert_eq!(tail, raw[length.saturating_sub(TAIL_BYTES)..]);
        if length > 0 {
            // What a frame holds is checked by whoever reads it: the last bytes are the checksum.
            let mut damaged = stored.clone();
            *damaged.last_mut().unwrap() ^= 1;
            assert!(zstd::decode_all(&damaged[..]).is_err());
        }
    }

    #[tokio::test]
    async fn an_upload_that_stops_ends_it() {
        let (sender, receiver) = channel("a key");
        drop(receiver);
        // More than a part, once compressed: nothing is sent before that.
        let mut state = 1_u64;
        let words = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        });
        let raw: Vec<u8> = words.take(5 * PIECE_BYTES).collect();
        let error = compress(&raw[..], &mut SegmentWriter::new(sender), |_| ()).await.unwrap_err();
        let SliceError::Failed(failure) = error else { panic!("not a failure") };
        assert_eq!(failure.code, "upload_stopped");
    }
}
