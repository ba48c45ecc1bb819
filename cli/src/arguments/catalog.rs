//! `holdfast catalog`.

use clap::{Args, Subcommand};
use holdfast_domain::id::ApplicationId;

const HELP: &str = "It needs no API. The bucket and the table are reached with the usual AWS settings (--profile, --region, AWS_PROFILE,
AWS_ENDPOINT_URL and so on): s3:ListBucket, s3:GetObject and kms:Decrypt, dynamodb:Query, GetItem and BatchGetItem, and to
rebuild dynamodb:PutItem. Their names are the outputs BucketName and TableName of the stack.";

#[derive(Debug, Subcommand)]
pub(crate) enum Catalog {
    /// Compare the records with the bucket, and name every difference. Changes nothing; fails if there is one.
    #[command(after_help = HELP)]
    Check {
        #[command(flatten)]
        sides: Sides,
    },
    /// Make the records anew that the table lacks, of what the bucket says about itself. Writes over nothing; it can be
    /// interrupted and repeated.
    #[command(after_help = HELP)]
    Rebuild {
        #[command(flatten)]
        sides: Sides,
        /// Only say what would be made.
        #[arg(long)]
        dry_run: bool,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
}

/// The two sides of the catalogue.
#[derive(Debug, Args)]
pub(crate) struct Sides {
    /// The bucket that backups are kept in.
    #[arg(long, env = "HOLDFAST_BUCKET", value_name = "NAME")]
    pub(crate) bucket: String,
    /// The table that records are kept in.
    #[arg(long, env = "HOLDFAST_TABLE", value_name = "NAME")]
    pub(crate) table: String,
    /// Only this application, and the plans.
    #[arg(long, value_name = "APP")]
    pub(crate) application: Option<ApplicationId>,
}
