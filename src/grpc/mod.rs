//! The driver's API on Unix sockets: bytes become one typed request with a deadline, results become final gRPC answers.

mod codec;
mod final_codes;
mod server;
mod service;
mod status;

pub use server::{Shutdown, serve};
pub use service::ProviderService;
pub use status::status_of;

/// Generated from `proto/v1alpha1.proto`.
#[allow(clippy::all, clippy::pedantic, reason = "generated code")]
pub mod v1alpha1 {
    tonic::include_proto!("v1alpha1");

    // Requests carry tokens and answers carry secrets, so what prints them is written by hand.
    macro_rules! redacted {
        ($($message:ident)+) => {
            $(impl std::fmt::Debug for $message {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str(concat!(stringify!($message), "(redacted)"))
                }
            })+
        };
    }
    redacted!(MountRequest MountResponse File);
}
