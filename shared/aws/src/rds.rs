//! Amazon RDS: what databases run on, and temporary copies of that.

mod failure;
mod found;
mod tags;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_rds::{
    Client,
    auth_token::{AuthTokenGenerator, Config},
};
use holdfast_backup::ports::{
    Endpoint, Instances, InstancesError, Kind, Leftover, NewCopy, Source, Tags, Temporary,
};
use holdfast_domain::application::Isolated;
use secrecy::SecretString;

use failure::{accepted, of, unless_missing};
use found::Found;

/// Databases of the account and region on RDS.
pub struct RdsInstances {
    client: Client,
    sdk: SdkConfig,
    stack: Option<String>,
}

impl RdsInstances {
    /// An adapter as `sdk` says, for the stack of that name. Without a name, isolated backups are turned off: every call is
    /// refused, and there are no leftovers.
    pub fn new(sdk: &SdkConfig, stack: Option<String>) -> Self {
        Self { client: Client::new(sdk), sdk: sdk.clone(), stack }
    }

    fn stack(&self) -> Result<&str, InstancesError> {
        self.stack.as_deref().ok_or_else(|| {
            InstancesError::Denied("isolated backups are turned off for this stack".to_owned())
        })
    }

    /// What is there of that name, whoever's it is.
    async fn look(&self, kind: Kind, name: &str) -> Result<Option<Found>, InstancesError> {
        Ok(match kind {
            Kind::Instance => {
                let sent = self.client.describe_db_instances().db_instance_identifier(name).send().await;
                let found = unless_missing("DescribeDBInstances", sent)?;
                found.and_then(|found| found.db_instances?.pop()).map(Found::of_instance)
            }
            Kind::Cluster => {
                let sent = self.client.describe_db_clusters().db_cluster_identifier(name).send().await;
                let found = unless_missing("DescribeDBClusters", sent)?;
                found.and_then(|found| found.db_clusters?.pop()).map(Found::of_cluster)
            }
            Kind::Snapshot => {
                let sent = self.client.describe_db_snapshots().db_snapshot_identifier(name).send().await;
                let found = unless_missing("DescribeDBSnapshots", sent)?;
                found.and_then(|found| found.db_snapshots?.pop()).map(Found::of_snapshot)
            }
            Kind::ClusterSnapshot => {
                let asked = self.client.describe_db_cluster_snapshots().db_cluster_snapshot_identifier(name);
                let found = unless_missing("DescribeDBClusterSnapshots", asked.send().await)?;
                found.and_then(|found| found.db_cluster_snapshots?.pop()).map(Found::of_cluster_snapshot)
            }
        })
    }

    async fn all(&self, kind: Kind) -> Result<Vec<Found>, InstancesError> {
        Ok(match kind {
            Kind::Instance => {
                let items = self.client.describe_db_instances().into_paginator().items().send();
                let found = items.try_collect().await;
                let found: Vec<_> = found.map_err(|error| of("DescribeDBInstances", &error))?;
                found.into_iter().map(Found::of_instance).collect()
            }
            Kind::Cluster => {
                let items = self.client.describe_db_clusters().into_paginator().items().send();
                let found = items.try_collect().await;
                let found: Vec<_> = found.map_err(|error| of("DescribeDBClusters", &error))?;
                found.into_iter().map(Found::of_cluster).collect()
            }
            Kind::Snapshot => {
                let asked = self.client.describe_db_snapshots().snapshot_type("manual");
                let found = asked.into_paginator().items().send().try_collect().await;
                let found: Vec<_> = found.map_err(|error| of("DescribeDBSnapshots", &error))?;
                found.into_iter().map(Found::of_snapshot).collect()
            }
            Kind::ClusterSnapshot => {
                let asked = self.client.describe_db_cluster_snapshots().snapshot_type("manual");
                let found = asked.into_paginator().items().send().try_collect().await;
                let found: Vec<_> = found.map_err(|error| of("DescribeDBClusterSnapshots", &error))?;
                found.into_iter().map(Found::of_cluster_snapshot).collect()
            }
        })
    }
}

#[async_trait]
impl Instances for RdsInstances {
    async fn source(&self, of: &Isolated) -> Result<Option<Source>, InstancesError> {
        self.stack()?;
        Ok(self.look(of.into(), of.identifier()).await?.and_then(|found| found.source))
    }

    async fn classes(&self, source: &Source) -> Result<Vec<String>, InstancesError> {
        self.stack()?;
        let asked = self.client.describe_orderable_db_instance_options();
        let asked = asked.engine(&source.engine).engine_version(&source.version).vpc(true);
        let options = asked.into_paginator().items().send().try_collect().await;
        let options: Vec<_> = options.map_err(|error| of("DescribeOrderableDBInstanceOptions", &error))?;
        let storage = storage_type(source);
        let holds = |size: i32, option: &aws_sdk_rds::types::OrderableDbInstanceOption| {
            option.min_storage_size.is_none_or(|least| least <= size)
                && option.max_storage_size.is_none_or(|most| size <= most)
        };
        let fitting = options.into_iter().filter(|option| {
            // Storage of Aurora is ordered with no instance.
            source.engine.starts_with("aurora")
                || (storage.is_none_or(|wanted| option.storage_type.as_deref() == Some(wanted))
                    && source.gibibytes.is_none_or(|size| holds(size, option)))
        });
        let fitting =
            fitting.filter(|option| !source.is_encrypted || option.supports_storage_encryption == Some(true));
        Ok(fitting.filter_map(|option| option.db_instance_class).collect())
    }

    async fn snapshot(&self, source: &Isolated, name: &str, tags: &Tags) -> Result<(), InstancesError> {
        let tags = Some(tags::of(self.stack()?, tags));
        match source {
            Isolated::Instance(instance) => {
                let asked = self.client.create_db_snapshot().db_instance_identifier(instance);
                let sent = asked.db_snapshot_identifier(name).set_tags(tags).send().await;
                accepted("CreateDBSnapshot", sent)
            }
            Isolated::Cluster(cluster) => {
                let asked = self.client.create_db_cluster_snapshot().db_cluster_identifier(cluster);
                let sent = asked.db_cluster_snapshot_identifier(name).set_tags(tags).send().await;
                accepted("CreateDBClusterSnapshot", sent)
            }
        }
    }

    async fn restore(&self, copy: &NewCopy) -> Result<(), InstancesError> {
        let NewCopy { name, source, .. } = copy;
        let tags = Some(tags::of(self.stack()?, &copy.tags));
        let groups = Some(copy.security_groups.clone()).filter(|groups| !groups.is_empty());
        if copy.is_cluster {
            let asked = self.client.restore_db_cluster_from_snapshot();
            let asked = asked.db_cluster_identifier(name).snapshot_identifier(name).engine(&source.engine);
            let asked = asked.engine_version(&source.version).set_tags(tags);
            let asked = asked.set_port(source.endpoint.as_ref().map(|endpoint| endpoint.port.into()));
            let asked = asked.set_db_subnet_group_name(copy.subnet_group.clone());
            let asked = asked.set_vpc_security_group_ids(groups);
            let asked = asked.set_db_cluster_parameter_group_name(source.parameter_group.clone());
            let asked = asked.enable_iam_database_authentication(source.has_iam_authentication);
            let asked = asked.deletion_protection(false).copy_tags_to_snapshot(false);
            return accepted("RestoreDBClusterFromSnapshot", asked.send().await);
        }
        let asked = self.client.restore_db_instance_from_db_snapshot();
        let asked = asked.db_instance_identifier(name).db_snapshot_identifier(name).set_tags(tags);
        let asked = asked.db_instance_class(&copy.class);
        let asked = asked.set_port(source.endpoint.as_ref().map(|endpoint| endpoint.port.into()));
        let asked = asked.set_db_subnet_group_name(copy.subnet_group.clone());
        let asked = asked.set_vpc_security_group_ids(groups);
        let asked = asked.set_db_parameter_group_name(source.parameter_group.clone());
        let asked = asked.set_storage_type(storage_type(source).map(str::to_owned));
        let asked = asked.set_ca_certificate_identifier(source.certificate_authority.clone());
        let asked = asked.enable_iam_database_authentication(source.has_iam_authentication);
        let asked = asked.publicly_accessible(false).multi_az(false).auto_minor_version_upgrade(false);
        let asked = asked.deletion_protection(false).copy_tags_to_snapshot(false).backup_retention_period(0);
        accepted("RestoreDBInstanceFromDBSnapshot", asked.send().await)
    }

    async fn add_instance(&self, copy: &NewCopy) -> Result<(), InstancesError> {
        let tags = Some(tags::of(self.stack()?, &copy.tags));
        let asked = self.client.create_db_instance();
        let asked = asked.db_instance_identifier(&copy.name).db_cluster_identifier(&copy.name).set_tags(tags);
        let asked = asked.engine(&copy.source.engine).db_instance_class(&copy.class);
        let asked = asked.publicly_accessible(false).auto_minor_version_upgrade(false);
        accepted("CreateDBInstance", asked.send().await)
    }

    async fn find(&self, kind: Kind, name: &str) -> Result<Option<Temporary>, InstancesError> {
        let stack = self.stack()?;
        let Some(found) = self.look(kind, name).await? else { return Ok(None) };
        if tags::stack(&found.tags) != Some(stack) {
            // Tried again: tags may come later than what they are on.
            return Err(InstancesError::Unavailable(format!(
                "the {kind} {name} is not tagged as one of this stack; find out whose it is, and delete it"
            )));
        }
        Ok(Some(found.temporary))
    }

    async fn delete(&self, kind: Kind, name: &str) -> Result<(), InstancesError> {
        self.stack()?;
        let client = &self.client;
        match kind {
            Kind::Instance => {
                let asked =
                    client.delete_db_instance().db_instance_identifier(name).skip_final_snapshot(true);
                unless_missing("DeleteDBInstance", asked.send().await).map(drop)
            }
            Kind::Cluster => {
                let asked = client.delete_db_cluster().db_cluster_identifier(name).skip_final_snapshot(true);
                unless_missing("DeleteDBCluster", asked.send().await).map(drop)
            }
            Kind::Snapshot => {
                let asked = client.delete_db_snapshot().db_snapshot_identifier(name);
                unless_missing("DeleteDBSnapshot", asked.send().await).map(drop)
            }
            Kind::ClusterSnapshot => {
                let asked = client.delete_db_cluster_snapshot().db_cluster_snapshot_identifier(name);
                unless_missing("DeleteDBClusterSnapshot", asked.send().await).map(drop)
            }
        }
    }

    /// Signed here: nobody is asked, and whether the role may is found out by the server.
    async fn token(&self, endpoint: &Endpoint, username: &str) -> Result<SecretString, InstancesError> {
        let config = Config::builder().hostname(&endpoint.host).port(endpoint.port.into()).username(username);
        let unsigned = |error: Box<dyn std::error::Error + Send + Sync>| {
            InstancesError::Unavailable(format!("a token could not be signed: {error}"))
        };
        let generator = AuthTokenGenerator::new(config.build().map_err(unsigned)?);
        let token = generator.auth_token(&self.sdk).await.map_err(unsigned)?;
        Ok(SecretString::from(token.to_string()))
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>, InstancesError> {
        let Some(stack) = &self.stack else { return Ok(Vec::new()) };
        let mut leftovers = Vec::new();
        for kind in [Kind::Instance, Kind::Cluster, Kind::Snapshot, Kind::ClusterSnapshot] {
            let found = self.all(kind).await?.into_iter();
            // The name as well: a tag alone may have come along with something that somebody restored.
            let ours = found.filter(|found| {
                tags::stack(&found.tags) == Some(stack)
                    && found.name.starts_with(holdfast_backup::isolated::PREFIX)
            });
            leftovers.extend(ours.map(|found| Leftover {
                kind,
                owner: tags::owner(&found.tags),
                name: found.name,
                status: found.temporary.status,
            }));
        }
        Ok(leftovers)
    }
}

/// The type of a copy's storage: no provisioned operations, which cost more than the copy. None for that of RDS's own choice.
fn storage_type(source: &Source) -> Option<&str> {
    match source.storage_type.as_deref() {
        Some("io1" | "io2") => Some("gp3"),
        other => other,
    }
}
