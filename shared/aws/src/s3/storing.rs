use aws_sdk_s3::types::{ServerSideEncryption, StorageClass};
use holdfast_domain::backup::StoredObject;

/// How the objects of a bucket are stored: what S3 is asked for, and what is compared when an object is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storing {
    /// As every backup of a stack must be: Standard-IA, with its KMS key and a bucket key.
    AsBackup {
        /// ARN of the key.
        key_arn: String,
    },
    /// As the bucket has it by default, but for what somebody asks for.
    AsAsked {
        /// The storage class, such as `STANDARD_IA`.
        storage_class: Option<String>,
        /// The KMS key: its ARN, its id, or an alias.
        kms_key: Option<String>,
        /// Whether an object that is there already is replaced. Otherwise S3 is told to refuse.
        replace: bool,
    },
}

impl Storing {
    pub(super) fn storage_class(&self) -> Option<StorageClass> {
        match self {
            Self::AsBackup { .. } => Some(StorageClass::StandardIa),
            Self::AsAsked { storage_class, .. } => storage_class.as_deref().map(StorageClass::from),
        }
    }

    pub(super) fn encryption(&self) -> Option<ServerSideEncryption> {
        self.key().map(|_| ServerSideEncryption::AwsKms)
    }

    pub(super) fn key(&self) -> Option<String> {
        match self {
            Self::AsBackup { key_arn } => Some(key_arn.clone()),
            Self::AsAsked { kms_key, .. } => kms_key.clone(),
        }
    }

    /// Whether a bucket key is asked for, where it is not left to the bucket.
    pub(super) fn bucket_key(&self) -> Option<bool> {
        match self {
            Self::AsBackup { .. } => Some(true),
            Self::AsAsked { .. } => None,
        }
    }

    /// The condition under which an object comes into being.
    pub(super) fn if_none_match(&self) -> Option<String> {
        match self {
            Self::AsAsked { replace: false, .. } => Some("*".to_owned()),
            Self::AsBackup { .. } | Self::AsAsked { .. } => None,
        }
    }

    /// What stored objects must be, in words, if `object` is not that.
    pub(super) fn missed_by(&self, object: &StoredObject) -> Option<String> {
        let encryption = &object.encryption;
        let class = self.storage_class().is_none_or(|class| class.as_str() == object.storage_class);
        match self {
            Self::AsBackup { key_arn } => {
                let (algorithm, key, bucket_key) = (
                    encryption.algorithm == "aws:kms",
                    encryption.key_arn == *key_arn,
                    encryption.bucket_key,
                );
                (!(class && algorithm && key && bucket_key)).then(|| {
                    "a backup must be STANDARD_IA, aws:kms, with the stack's key and its bucket key"
                        .to_owned()
                })
            }
            Self::AsAsked { storage_class, kms_key, .. } => {
                let key = kms_key.as_deref().is_none_or(|key| {
                    // S3 names the key itself, whatever name it was asked for by.
                    let named_otherwise = !key.starts_with("arn:") || key.contains(":alias/");
                    encryption.algorithm == "aws:kms" && (named_otherwise || encryption.key_arn == key)
                });
                (!(class && key)).then(|| {
                    let asked = [("", storage_class), ("the KMS key ", kms_key)];
                    let asked =
                        asked.iter().filter_map(|(what, name)| Some(format!("{what}{}", name.as_ref()?)));
                    format!("it was to be stored with {}", asked.collect::<Vec<_>>().join(" and "))
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_domain::backup::Encryption;
    use rstest::rstest;

    use super::*;

    const KEY: &str = "arn:aws:kms:eu-central-1:123456789012:key/x";

    fn object(class: &str, algorithm: &str, key: &str, bucket_key: bool) -> StoredObject {
        let encryption = Encryption { algorithm: algorithm.to_owned(), key_arn: key.to_owned(), bucket_key };
        let (key, crc64nvme, etag) = ("k".to_owned(), "c".to_owned(), "e".to_owned());
        StoredObject {
            key,
            size: 1,
            crc64nvme,
            etag,
            version_id: None,
            storage_class: class.to_owned(),
            encryption,
        }
    }

    #[rstest]
    #[case("STANDARD_IA", "aws:kms", KEY, true, true)]
    #[case("STANDARD", "aws:kms", KEY, true, false)]
    #[case("STANDARD_IA", "AES256", KEY, true, false)]
    #[case("STANDARD_IA", "aws:kms", "another", true, false)]
    #[case("STANDARD_IA", "aws:kms", KEY, false, false)]
    fn a_backup_is_protected_in_every_way(
        #[case] class: &str,
        #[case] algorithm: &str,
        #[case] key: &str,
        #[case] bucket_key: bool,
        #[case] good: bool,
    ) {
        let storing = Storing::AsBackup { key_arn: KEY.to_owned() };
        assert_eq!(storing.missed_by(&object(class, algorithm, key, bucket_key)).is_none(), good);
        assert_eq!(storing.if_none_match(), None);
    }

    #[rstest]
    #[case(None, None, "STANDARD", "", "", true)]
    #[case(None, None, "GLACIER_IR", "aws:kms", KEY, true)]
    #[case(Some("STANDARD_IA"), None, "STANDARD", "", "", false)]
    #[case(None, Some(KEY), "STANDARD", "aws:kms", KEY, true)]
    #[case(None, Some(KEY), "STANDARD", "aws:kms", "another", false)]
    #[case(None, Some("alias/mine"), "STANDARD", "aws:kms", KEY, true)]
    #[case(None, Some("alias/mine"), "STANDARD", "AES256", "", false)]
    fn of_what_somebody_asks_for_nothing_is_missed(
        #[case] storage_class: Option<&str>,
        #[case] kms_key: Option<&str>,
        #[case] class: &str,
        #[case] algorithm: &str,
        #[case] key: &str,
        #[case] good: bool,
    ) {
        let (storage_class, kms_key) = (storage_class.map(str::to_owned), kms_key.map(str::to_owned));
        let storing = Storing::AsAsked { storage_class, kms_key, replace: false };
        assert_eq!(storing.missed_by(&object(class, algorithm, key, false)).is_none(), good);
        assert_eq!(storing.if_none_match().as_deref(), Some("*"));
    }
}
