//! What RDS describes, in the port's words.

use aws_sdk_rds::{
    primitives::DateTime as Moment,
    types::{DbCluster, DbClusterSnapshot, DbInstance, DbSnapshot, Tag, VpcSecurityGroupMembership},
};
use chrono::{DateTime, Utc};
use holdfast_backup::ports::{Endpoint, Source, Temporary};

/// One thing that RDS describes.
pub(super) struct Found {
    /// Its identifier.
    pub(super) name: String,
    /// Its tags.
    pub(super) tags: Vec<Tag>,
    /// As a temporary thing.
    pub(super) temporary: Temporary,
    /// As what a database runs on; none for snapshots.
    pub(super) source: Option<Source>,
}

impl Found {
    pub(super) fn of_instance(instance: DbInstance) -> Self {
        let status = instance.db_instance_status.unwrap_or_default();
        let endpoint = instance.endpoint.and_then(|found| endpoint(found.address, found.port));
        let groups = instance.db_parameter_groups.unwrap_or_default();
        let source = Source {
            status: status.clone(),
            engine: instance.engine.unwrap_or_default(),
            version: instance.engine_version.unwrap_or_default(),
            endpoint: endpoint.clone(),
            member_of: instance.db_cluster_identifier,
            is_encrypted: instance.storage_encrypted.unwrap_or_default(),
            gibibytes: instance.allocated_storage,
            storage_type: instance.storage_type,
            subnet_group: instance.db_subnet_group.and_then(|group| group.db_subnet_group_name),
            security_groups: security_groups(instance.vpc_security_groups),
            parameter_group: groups.into_iter().find_map(|group| group.db_parameter_group_name),
            certificate_authority: instance.ca_certificate_identifier,
            has_iam_authentication: instance.iam_database_authentication_enabled.unwrap_or_default(),
        };
        Self {
            name: instance.db_instance_identifier.unwrap_or_default(),
            tags: instance.tag_list.unwrap_or_default(),
            temporary: Temporary { status, taken_at: None, endpoint },
            source: Some(source),
        }
    }

    pub(super) fn of_cluster(cluster: DbCluster) -> Self {
        let status = cluster.status.unwrap_or_default();
        let source = Source {
            status: status.clone(),
            engine: cluster.engine.unwrap_or_default(),
            version: cluster.engine_version.unwrap_or_default(),
            endpoint: endpoint(cluster.endpoint, cluster.port),
            member_of: None,
            is_encrypted: cluster.storage_encrypted.unwrap_or_default(),
            gibibytes: None,
            storage_type: None,
            subnet_group: cluster.db_subnet_group,
            security_groups: security_groups(cluster.vpc_security_groups),
            parameter_group: cluster.db_cluster_parameter_group,
            certificate_authority: None,
            has_iam_authentication: cluster.iam_database_authentication_enabled.unwrap_or_default(),
        };
        Self {
            name: cluster.db_cluster_identifier.unwrap_or_default(),
            tags: cluster.tag_list.unwrap_or_default(),
            // A cluster answers where its instances do.
            temporary: Temporary { status, taken_at: None, endpoint: None },
            source: Some(source),
        }
    }

    pub(super) fn of_snapshot(snapshot: DbSnapshot) -> Self {
        Self {
            name: snapshot.db_snapshot_identifier.unwrap_or_default(),
            tags: snapshot.tag_list.unwrap_or_default(),
            temporary: of_snapshot(snapshot.status, snapshot.snapshot_create_time),
            source: None,
        }
    }

    pub(super) fn of_cluster_snapshot(snapshot: DbClusterSnapshot) -> Self {
        Self {
            name: snapshot.db_cluster_snapshot_identifier.unwrap_or_default(),
            tags: snapshot.tag_list.unwrap_or_default(),
            temporary: of_snapshot(snapshot.status, snapshot.snapshot_create_time),
            source: None,
        }
    }
}

fn of_snapshot(status: Option<String>, at: Option<Moment>) -> Temporary {
    let status = status.unwrap_or_default();
    let taken_at = at.filter(|_| status == "available").and_then(|at| moment(&at));
    Temporary { status, taken_at, endpoint: None }
}

fn moment(at: &Moment) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(at.secs(), at.subsec_nanos())
}

fn endpoint(host: Option<String>, port: Option<i32>) -> Option<Endpoint> {
    Some(Endpoint { host: host?, port: u16::try_from(port?).ok()? })
}

fn security_groups(groups: Option<Vec<VpcSecurityGroupMembership>>) -> Vec<String> {
    groups.unwrap_or_default().into_iter().filter_map(|group| group.vpc_security_group_id).collect()
}
