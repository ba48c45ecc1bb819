//! What vanishes or shrinks after its parts were numbered: S3 takes no upload with numbers left out.

use rstest::rstest;

use super::*;

/// Large files that are copied, with small ones between them, of which some change before they are read.
#[rstest]
#[case::the_first_large_one(&["1/large.mp4"], None)]
#[case::all_large_ones(&["1/large.mp4", "2/large.mp4", "3/large.mp4"], None)]
#[case::large_ones_that_shrink(&["1/large.mp4", "3/large.mp4"], Some(3))]
#[case::large_ones_that_are_still_copied(&["1/large.mp4", "2/large.mp4"], Some(10 * MIB))]
#[case::what_stands_before_a_large_one(&["1/a", "1/b", "1/c"], None)]
#[case::what_stands_before_a_large_one_shrinks(&["1/a", "1/b", "1/c"], Some(1))]
#[tokio::test]
async fn every_number_that_was_planned_has_a_part(#[case] keys: &[&str], #[case] then: Option<usize>) {
    let world = world();
    let mut files = BTreeMap::new();
    for number in 1..=3_u8 {
        for name in ["a", "b", "c"] {
            files.insert(format!("{number}/{name}"), Bytes::from(vec![number; 9 * MIB]));
        }
        files.insert(format!("{number}/large.mp4"), vec![number + 100; 12 * MIB].into());
    }
    for (key, bytes) in &files {
        world.media.put(BUCKET, &format!("m/{key}"), bytes.clone());
    }
    for key in keys {
        let change = then.map_or(Surprise::Deleted, |bytes| Surprise::Replaced(vec![9; bytes].into()));
        world.media.surprise(BUCKET, &format!("m/{key}"), [change]);
        match then {
            Some(bytes) => files.insert((*key).to_owned(), vec![9; bytes].into()),
            None => files.remove(*key),
        };
    }
    // The fake bucket refuses as S3 does.
    let stored = back_up(&world).await.unwrap();
    assert_eq!(contents(&stored).0, files.len() as u64);
    let archive = Archive::of(&world);
    assert_eq!(archive.names(), files.keys().map(String::as_str).collect::<Vec<_>>());
    for (name, bytes) in &files {
        assert!(archive.contents(name) == bytes, "{name}");
    }
}

/// What stands still is not filled up, whatever the lengths of its headers.
#[tokio::test]
async fn what_stands_still_has_nothing_filled_in() {
    let world = world();
    let mut expected = 1_024;
    for number in 0..9_000 {
        let key = format!("{number:05}{}", if number % 2 == 0 { "" } else { "\u{e9}" });
        world.media.put(BUCKET, &format!("m/{key}"), vec![1; 700]);
        expected += 1_024 + if number % 2 == 0 { 512 } else { 1_536 };
    }
    world.media.put(BUCKET, "m/x.mp4", vec![2; 10 * MIB]);
    expected += 512 + 10 * MIB;
    back_up(&world).await.unwrap();
    let tar = world.artifacts.bytes(KEY).unwrap();
    let manifest = Archive::of(&world).manifest_bytes;
    assert_eq!(tar.len(), expected + 512 + manifest.next_multiple_of(512));
}
