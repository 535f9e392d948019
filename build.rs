//! Generates the provider API from `proto/`, without a `protoc` on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/v1alpha1.proto");
    println!("cargo:rerun-if-changed=deploy/order/list"); // what `deploy/build` links by
    let descriptors = protox::compile(["v1alpha1.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .codec_path("crate::grpc::codec::SmallBuffers")
        // These carry tokens and secrets: a generated `Debug` would print them.
        .skip_debug(["v1alpha1.MountRequest", "v1alpha1.MountResponse", "v1alpha1.File"])
        .compile_fds(descriptors)?;
    Ok(())
}
