//! Headers: they are restored with an object, so all of them are in the manifest.

use rstest::rstest;

use super::*;

#[rstest]
#[case::read(10)]
#[case::copied(12 * MIB)]
#[tokio::test]
async fn every_header_of_an_object_is_in_the_manifest(#[case] bytes: usize) {
    let world = world();
    world.media.put_typed(BUCKET, "m/a", vec![1; bytes], Some("text/html"), &[("by", "Ann")]);
    let headers = [
        ("cache-control", "max-age=60"),
        ("content-encoding", "gzip"),
        ("content-disposition", "inline"),
        ("content-language", "de-CH"),
        ("expires", "next Wednesday"),
        ("x-amz-website-redirect-location", "/b"),
    ];
    world.media.set_headers(BUCKET, "m/a", &headers);
    world.media.tag(BUCKET, "m/a", &[("kind", "page")]);
    back_up(&world).await.unwrap();
    let archive = Archive::of(&world);
    let [ManifestLine::File(object)] = &archive.lines[..] else { panic!("{:?}", archive.lines) };
    let found = [
        &object.content_type,
        &object.cache_control,
        &object.content_encoding,
        &object.content_disposition,
        &object.content_language,
        &object.expires,
        &object.website_redirect_location,
    ];
    let expected = ["text/html", "max-age=60", "gzip", "inline", "de-CH", "next Wednesday", "/b"];
    assert_eq!(found.map(|value| value.as_deref().unwrap_or("")), expected);
    assert_eq!((object.metadata["by"].as_str(), object.tags["kind"].as_str()), ("Ann", "page"));
}
