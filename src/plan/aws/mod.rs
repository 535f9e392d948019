//! The words of AWS that a plan needs: Regions, ARNs, where a value is stored, and as whom it is read.

mod arn;
mod authentication;
mod region;
mod stored;

pub use arn::{Arn, InvalidRoleArn, RoleArn};
pub use authentication::{AddressFamily, Authentication, Hop, Origin};
pub use region::{InvalidRegion, Region};
pub use stored::{Filter, Item, List, Parameter, Path, Revision, Secret, Stored};
