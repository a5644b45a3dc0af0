//! `cargo xtask gen-proto`: the Rust code of proto/, checked in, so that a clean checkout builds
//! with cargo alone and a reviewer sees what changed.
//!
//! Two files: the messages, which the filter uses, and the gRPC service and client, which only the
//! control plane may see.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

use crate::workspace;

const SOURCE: &str = "reeve/v1/policy_sync.proto";
const PACKAGE: &str = ".reeve.v1";
/// What prost names the file of `PACKAGE`.
const MESSAGES: &str = "reeve.v1.rs";
const SERVICES: &str = "reeve.v1.grpc.rs";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Change nothing; fail when a generated file is not what the .proto file says.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let proto = workspace::root().join("proto");
    let generated = generate(&proto)?;
    let folder = proto.join("src/gen");
    if args.check {
        return check(&folder, &generated);
    }
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    for (name, text) in &generated {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn check(folder: &Path, generated: &[(&str, String)]) -> anyhow::Result<()> {
    for (name, text) in generated {
        let path = folder.join(name);
        let found = fs::read_to_string(&path).with_context(|| {
            format!("{} is missing; run `cargo xtask gen-proto`", path.display())
        })?;
        if found != *text {
            bail!("{} is stale; run `cargo xtask gen-proto`", path.display());
        }
    }
    Ok(())
}

fn generate(proto: &Path) -> anyhow::Result<Vec<(&'static str, String)>> {
    let descriptors = protox::compile([SOURCE], [proto])?;
    let scratch = tempfile::tempdir().context("create a scratch folder")?;
    let written = scratch.path().join(MESSAGES);

    let builder = || tonic_prost_build::configure().out_dir(scratch.path());
    builder()
        .build_client(false)
        .build_server(false)
        .compile_fds(descriptors.clone())?;
    let messages = fs::read_to_string(&written).context("read the generated messages")?;

    // The messages exist already, so this pass writes the services alone.
    builder()
        .extern_path(PACKAGE, "crate::v1")
        .compile_fds(descriptors)?;
    let services = fs::read_to_string(&written).context("read the generated services")?;

    Ok(vec![(MESSAGES, messages), (SERVICES, services)])
}
