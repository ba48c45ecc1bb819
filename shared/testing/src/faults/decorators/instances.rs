use async_trait::async_trait;
use holdfast_backup::ports::{
    Endpoint, Instances, InstancesError, Kind, Leftover, NewCopy, Source, Tags, Temporary,
};
use holdfast_domain::application::Isolated;
use secrecy::SecretString;

use super::Faulty;

#[async_trait]
impl<P: Instances + ?Sized> Instances for Faulty<P> {
    async fn source(&self, of: &Isolated) -> Result<Option<Source>, InstancesError> {
        self.faults.around("instances.source", self.inner.source(of)).await
    }

    async fn classes(&self, source: &Source) -> Result<Vec<String>, InstancesError> {
        self.faults.around("instances.classes", self.inner.classes(source)).await
    }

    async fn snapshot(&self, of: &Isolated, name: &str, tags: &Tags) -> Result<(), InstancesError> {
        self.faults.around("instances.snapshot", self.inner.snapshot(of, name, tags)).await
    }

    async fn restore(&self, copy: &NewCopy) -> Result<(), InstancesError> {
        self.faults.around("instances.restore", self.inner.restore(copy)).await
    }

    async fn add_instance(&self, copy: &NewCopy) -> Result<(), InstancesError> {
        self.faults.around("instances.add_instance", self.inner.add_instance(copy)).await
    }

    async fn find(&self, kind: Kind, name: &str) -> Result<Option<Temporary>, InstancesError> {
        self.faults.around("instances.find", self.inner.find(kind, name)).await
    }

    async fn delete(&self, kind: Kind, name: &str) -> Result<(), InstancesError> {
        self.faults.around("instances.delete", self.inner.delete(kind, name)).await
    }

    async fn token(&self, endpoint: &Endpoint, username: &str) -> Result<SecretString, InstancesError> {
        self.faults.around("instances.token", self.inner.token(endpoint, username)).await
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>, InstancesError> {
        self.faults.around("instances.leftovers", self.inner.leftovers()).await
    }
}
