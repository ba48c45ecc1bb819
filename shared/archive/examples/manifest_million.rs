//! Measures the memory that the manifest of 1,000,000 objects needs: `cargo run --release -p holdfast-archive
//! --example manifest_million`.
#![expect(clippy::disallowed_macros, reason = "a measurement prints its figures")]

use std::collections::BTreeMap;
use std::time::Instant;

use chrono::DateTime;
use holdfast_archive::checksum::Sha256;
use holdfast_archive::manifest::{ManifestFrames, ManifestLine, ManifestSource, StoredObject, unpack};

const LINES: u64 = 1_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let before = peak_mib()?;
    let start = Instant::now();
    let (mut manifest, mut packed, mut given) = (ManifestFrames::new(), 0, 0);
    let mut offset = 0;
    for number in 0..LINES {
        let line = line(number, &mut offset);
        // The worker stages it in the bucket.
        if let Some(frame) = manifest.push(&line)? {
            packed += frame.len() as u64;
            given += unpack(&frame)?.len() as u64;
        }
    }
    let collected = peak_mib()?;
    let source = ManifestSource {
        application: "shop".to_owned(),
        service: "MEDIA".to_owned(),
        bucket: "shop-media".to_owned(),
        prefix: "media/".to_owned(),
        taken_at: DateTime::UNIX_EPOCH,
    };
    let end = manifest.finish(source)?;
    if let Some(frame) = &end.last {
        packed += frame.len() as u64;
        given += unpack(frame)?.len() as u64;
    }
    given += end.header_line.len() as u64;
    assert_eq!(given, end.total_bytes, "the manifest is as long as it says");
    let (total, index) = (end.total_bytes, end.index_frame.len());
    println!("lines                  {LINES}");
    println!("manifest               {} MiB", total >> 20);
    println!("compressed             {} MiB", packed >> 20);
    println!("index                  {} KiB", index >> 10);
    println!("peak before            {before:.1} MiB");
    println!("peak, lines collected  {collected:.1} MiB");
    println!("peak, manifest given   {:.1} MiB", peak_mib()?);
    println!("seconds                {:.2}", start.elapsed().as_secs_f64());
    Ok(())
}

/// A line as uploads of a web application have them: random names, checksums and tags, three content types.
fn line(number: u64, offset: &mut u64) -> ManifestLine {
    let random = Sha256::of(&number.to_le_bytes()).to_string();
    let size = u64::from_str_radix(&random[..5], 16).unwrap_or(0);
    let (extension, content_type) =
        [("jpg", "image/jpeg"), ("png", "image/png"), ("pdf", "application/pdf")][(size % 3) as usize];
    let key = format!("uploads/2026/{:02}/{}.{extension}", number / 90_000 + 1, &random[8..40]);
    let data = *offset + 512;
    *offset = data + size.next_multiple_of(512);
    ManifestLine::File(StoredObject {
        member: key.clone(),
        key,
        size,
        offset: data,
        sha256: Some(Sha256::of(random.as_bytes())),
        crc64nvme: None,
        version_id: None,
        tags: BTreeMap::new(),
        etag: format!("\"{}\"", &Sha256::of(&random.as_bytes()[1..]).to_string()[..32]),
        last_modified: DateTime::from_timestamp(1_767_225_600 + number.cast_signed() * 30, 0)
            .unwrap_or_default(),
        content_type: Some(content_type.to_owned()),
        cache_control: Some("max-age=31536000".to_owned()),
        content_encoding: None,
        content_disposition: None,
        content_language: None,
        expires: None,
        website_redirect_location: None,
        metadata: BTreeMap::from([("owner".to_owned(), (size % 5_000).to_string())]),
    })
}

/// The most memory that this process has had resident, from the kernel.
fn peak_mib() -> Result<f64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
