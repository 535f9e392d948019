//! All that a scenario needs: the world, and who is to be measured in it.

use std::path::Path;

use crate::contender::Contender;
use crate::running::Running;
use crate::world::World;

/// Lifts the official provider's limit of five calls a second to Kubernetes, which decides everything where many pods start.
const LIFTED: &str = "--qps=1000 --burst=1000";

pub struct Bench {
    pub world: World,
    pub quick: bool,
    ours: Vec<Contender>,
    peer: Option<Contender>,
    versions: Vec<String>,
}

impl Bench {
    /// `ours` and `peer` are binaries; each of `variants` are arguments with which ours is measured once more.
    pub async fn new(ours: &Path, peer: Option<&Path>, variants: &[String], quick: bool) -> anyhow::Result<Self> {
        let world = World::new().await?;
        let ours = Contender::ours(ours);
        let peer = peer.map(Contender::peer);
        let mut versions = Vec::new();
        for contender in [Some(&ours), peer.as_ref()].into_iter().flatten() {
            contender.leave_page_cache()?;
            let version = Running::start(contender, &world).await?.version().await?;
            versions.push(format!("`{}` is {version}", contender.name));
        }
        let variants = variants.iter().map(|arguments| ours.variant(arguments));
        let ours = std::iter::once(ours.clone()).chain(variants).collect();
        Ok(Self { world, quick, ours, peer, versions })
    }

    /// Who is who.
    pub fn legend(&self) -> String {
        format!("In the tables {}.", self.versions.join(", "))
    }

    /// Ours, its variants, and the peer as its DaemonSet starts it.
    pub fn contenders(&self) -> Vec<Contender> {
        self.ours.iter().chain(&self.peer).cloned().collect()
    }

    /// Ours, its variants, and the peer without its limit on calls to Kubernetes, where that is not the question.
    pub fn fair_contenders(&self) -> Vec<Contender> {
        self.ours.iter().cloned().chain(self.rival()).collect()
    }

    /// The peer as its DaemonSet starts it.
    pub fn peer(&self) -> Option<&Contender> {
        self.peer.as_ref()
    }

    fn rival(&self) -> Option<Contender> {
        self.peer.as_ref().map(|peer| peer.variant(LIFTED))
    }

    /// One process of each.
    pub async fn start(&self, contenders: &[Contender]) -> anyhow::Result<Vec<Running>> {
        let mut running = Vec::with_capacity(contenders.len());
        for contender in contenders {
            running.push(Running::start(contender, &self.world).await?);
        }
        Ok(running)
    }

    /// How many rounds, here and in a hurry.
    pub fn rounds(&self, all: usize, quick: usize) -> usize {
        if self.quick { quick } else { all }
    }
}
