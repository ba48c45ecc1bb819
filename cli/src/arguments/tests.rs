use clap::{CommandFactory as _, error::ErrorKind};
use rstest::rstest;

use super::*;

const ID: &str = "018bcfe5-6800-7707-8707-070707070707";

fn parse(line: &str) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(std::iter::once("holdfast").chain(line.split_whitespace()))
}

#[test]
fn the_command_line_is_sound() {
    Arguments::command().debug_assert();
}

#[rstest]
#[case("apps list")]
#[case("catalog check --bucket backups --table records")]
#[case("catalog rebuild --bucket backups --table records --application shop --dry-run --output json")]
#[case("apps put shop --file -")]
#[case("apps put shop --file shop.json --version 3")]
#[case("apps delete shop --backups keep --yes")]
#[case("plans put weekly -f plan.json --overwrite")]
#[case("backup create shop --service DEFAULT --service MEDIA --note x --expires 14d --detach")]
#[case("backup create shop --expires 2027-01-01T00:00:00Z --idempotency-key release-42")]
#[case(
    "backup list shop --state failed --state cancelled --trigger scheduled --label weekly --since 2026-01-01 --limit 5"
)]
#[case("backup show shop latest")]
#[case("backup show shop 018bcfe5-6800-7707-8707-070707070707 --output json")]
#[case("backup download shop latest --service MEDIA --to /tmp/x --overwrite")]
#[case("backup files shop latest --service MEDIA --prefix photos/ --limit 1000")]
#[case("backup cat shop latest photos/a.jpg")]
#[case("backup get shop latest photos/a.jpg --service MEDIA --to /tmp/a.jpg --overwrite")]
#[case("--api https://example.org --region eu-central-1 --profile me backup events shop")]
#[case("backup events shop --api https://example.org --region eu-central-1 --profile me")]
#[case(
    "retention simulate --from 2025-01-01 --days 400 --skip 2025-03-01..2025-03-10 --skip 2025-04-01..2025-04-01"
)]
#[case("retention simulate --from 2025-01-01 --days 400 --svg year.svg --bytes 1.5GiB --region eu-central-1")]
#[case("retention simulate --from 2025-01-01 --days 400 --svg - --slots-per-day 4")]
#[case("retention simulate --from 2025-01-01 --days 400 --bytes 7 --prices prices.json --region eu-south-2")]
#[case("backup hold shop latest --reason evidence")]
#[case("backup release shop 018bcfe5-6800-7707-8707-070707070707")]
#[case("backup verify shop latest")]
#[case("backup verify shop latest --restore")]
#[case("backup verify shop latest --restore --checksums")]
#[case("backup undelete shop 018bcfe5-6800-7707-8707-070707070707")]
#[case("plans events default --limit 3")]
#[case("retention show shop --svg year.svg")]
#[case("retention preview shop --policy gfs:14/8/24 --on-demand age_then_count:90/5")]
#[case("retention preview shop --on-demand age_then_count:90/5 --svg -")]
#[case("dump --output shop.dump --json --overwrite --jobs 2")]
#[case(
    "dump -o s3://dumps/shop.dump --storage-class STANDARD_IA --sse-kms-key-id alias/mine --region eu-west-1"
)]
#[case("archive s3://media --output media.tar")]
#[case(
    "archive s3://media/m/ -o s3://archives/media.tar --json --overwrite --storage-class GLACIER_IR --profile me"
)]
#[case("restore --dsn postgresql://me@db/shop shop.dump --overwrite --keep-old --jobs 2")]
#[case("restore shop.dump")]
#[case("restore shop.dump --table public.product --table picture --overwrite")]
#[case("restore ./create")]
#[case("restore create shop --from latest")]
#[case(
    "restore create shop --from 018bcfe5-6800-7707-8707-070707070707 --from-application garden --service MAIN=DEFAULT --table a.b --overwrite --no-owner --no-safety-backup --yes --detach --idempotency-key k"
)]
#[case("restore create shop --from latest --service MEDIA --file a/ --mirror --into-prefix old/ --dry-run")]
#[case("restore list shop --state failed --state cancelled --limit 5")]
#[case("restore show shop 018bcfe5-6800-7707-8707-070707070707 --output json")]
#[case("restore follow shop 018bcfe5-6800-7707-8707-070707070707")]
#[case("restore cancel shop 018bcfe5-6800-7707-8707-070707070707")]
#[case("restore undo shop 018bcfe5-6800-7707-8707-070707070707 --yes --detach")]
#[case("completions bash")]
fn good_lines_are_understood(#[case] line: &str) {
    parse(line).unwrap();
}

#[rstest]
#[case("", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, "Usage")]
#[case("backups", ErrorKind::InvalidSubcommand, "backup")]
#[case("apps get Shop!", ErrorKind::ValueValidation, "lower-case letters")]
#[case("apps put shop", ErrorKind::MissingRequiredArgument, "--file")]
#[case("apps put shop --file x --version 1 --overwrite", ErrorKind::ArgumentConflict, "--overwrite")]
#[case("apps delete shop", ErrorKind::MissingRequiredArgument, "--backups")]
#[case("apps delete shop --backups burn", ErrorKind::InvalidValue, "keep, delete")]
#[case("backup create shop --expires tomorrow", ErrorKind::ValueValidation, "14d")]
#[case("backup create shop --service 1st", ErrorKind::ValueValidation, "starting with a letter")]
#[case("backup list shop --state broken", ErrorKind::InvalidValue, "cancelled")]
#[case("backup show shop newest", ErrorKind::ValueValidation, "latest")]
#[case("backup cancel shop latest", ErrorKind::ValueValidation, "id")]
#[case("retention simulate --from 2025-02-30 --days 1", ErrorKind::ValueValidation, "2025-02-30")]
#[case("retention simulate --days 1", ErrorKind::MissingRequiredArgument, "--from")]
#[case("retention simulate --from 2025-01-01 --days -1", ErrorKind::UnknownArgument, "-1")]
#[case("retention simulate --from 2025-01-01 --days 1 --policy forever", ErrorKind::ValueValidation, "gfs:")]
#[case(
    "retention simulate --from 2025-01-01 --days 1 --skip 2025-02-02..2025-01-01",
    ErrorKind::ValueValidation,
    "earlier"
)]
#[case("retention simulate --from 2025-01-01 --days 1 --bytes 2G", ErrorKind::ValueValidation, "2GiB")]
#[case(
    "retention simulate --from 2025-01-01 --days 1 --prices prices.json",
    ErrorKind::MissingRequiredArgument,
    "--bytes"
)]
#[case("backup hold shop latest", ErrorKind::MissingRequiredArgument, "--reason")]
#[case("backup release shop latest", ErrorKind::ValueValidation, "id")]
#[case("backup verify shop latest --checksums", ErrorKind::MissingRequiredArgument, "--restore")]
#[case("retention preview shop", ErrorKind::MissingRequiredArgument, "--policy")]
#[case("backup list shop --output yaml", ErrorKind::InvalidValue, "json")]
#[case("dump --output s3://dumps", ErrorKind::ValueValidation, "names no object")]
#[case("dump --output s3:/dumps/a", ErrorKind::ValueValidation, "s3://bucket/key")]
#[case("dump --output s3://dumps/a --storage-class DEEP_ARCHIVE", ErrorKind::InvalidValue, "GLACIER_IR")]
#[case("restore", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, "<COMMAND>")]
#[case("restore create shop", ErrorKind::MissingRequiredArgument, "--from")]
#[case("restore create shop --from newest", ErrorKind::ValueValidation, "latest")]
#[case(
    "restore create shop --from latest --service A=b!",
    ErrorKind::ValueValidation,
    "starting with a letter"
)]
#[case("restore create shop --from latest --table a", ErrorKind::MissingRequiredArgument, "--service")]
#[case(
    "restore create shop --from latest --service A --table a --file b",
    ErrorKind::ArgumentConflict,
    "--file"
)]
#[case("restore undo shop latest", ErrorKind::ValueValidation, "id")]
#[case("restore --overwrite create shop", ErrorKind::ArgumentConflict, "shop")]
#[case("archive media --output media.tar", ErrorKind::ValueValidation, "s3://bucket/key")]
#[case("archive s3://media", ErrorKind::MissingRequiredArgument, "--output")]
fn wrong_lines_say_what_is_wrong(#[case] line: &str, #[case] kind: ErrorKind, #[case] says: &str) {
    let error = parse(line).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(says), "{error}");
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn a_backup_is_named_by_its_id_or_as_the_latest() {
    assert_eq!("latest".parse(), Ok(Which::Latest));
    assert_eq!(ID.parse::<Which>().unwrap().to_string(), ID);
}

#[rstest]
#[case("dump --output a.dump --sse-kms-key-id k", "--sse-kms-key-id")]
#[case("archive s3://media --output a.tar --storage-class STANDARD", "--storage-class")]
fn what_is_for_objects_is_refused_of_files(#[case] line: &str, #[case] option: &str) {
    let (output, stored) = match parse(line).unwrap().command {
        Command::Dump(Dump { output, stored, .. }) | Command::Archive(Archive { output, stored, .. }) => {
            (output, stored)
        }
        other => panic!("{other:?}"),
    };
    assert!(stored.check(&Target::of(&output).unwrap()).unwrap_err().to_string().contains(option));
    assert!(stored.check(&"s3://dumps/a".parse().unwrap()).is_ok());
}
