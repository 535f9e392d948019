//! The words of AWS that a plan needs: Regions, ARNs, and where a secret is stored.

mod arn;
mod region;
mod stored;

pub use arn::{Arn, InvalidRoleArn, RoleArn};
pub use region::{InvalidRegion, Region};
pub use stored::{Revision, StoredSecret};
