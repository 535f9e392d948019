//! A linker that puts functions in the order of a list: `rustc -C linker=order-link`.
//!
//! Reads the objects and archives among its arguments, and calls the linker behind it with the same arguments and the names of
//! those functions that the list has. Fails where so few of them are there that the list must be of another program.
//!
//! | variable | meaning |
//! |---|---|
//! | `ORDER_LIST` | the list |
//! | `ORDER_LINKER` | the C compiler that calls the linker |
//! | `ORDER_LLD` | the folder of `ld.lld`, which is rustc's own |

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use object::read::archive::ArchiveFile;
use object::{Object as _, ObjectSymbol as _};
use secretmount_order::{mark, read};

fn main() -> ExitCode {
    match run(std::env::args_os().skip(1).collect()) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<OsString>) -> anyhow::Result<std::convert::Infallible> {
    let list = PathBuf::from(variable("ORDER_LIST")?);
    let marks = read(&list)?;
    let mut names = names_by_mark(&arguments)?;
    let found: Vec<_> = marks.iter().filter_map(|mark| names.remove(mark)).collect();
    anyhow::ensure!(
        found.len() * 4 >= marks.len() * 3,
        "{} has {} functions, and only {} are in this program: renew it with deploy/order/record",
        list.display(),
        marks.len(),
        found.len()
    );
    let order = output(&arguments).context("-o is missing")?.with_extension("order");
    std::fs::write(&order, found.concat().join("\n")).with_context(|| order.display().to_string())?;
    let mut command = Command::new(variable("ORDER_LINKER")?);
    command.args(arguments).arg("-fuse-ld=lld").arg(joined("-B", &variable("ORDER_LLD")?));
    command.arg(joined("-Wl,--no-warn-symbol-ordering,--symbol-ordering-file=", order.as_os_str()));
    // Only comes back when it could not be started.
    Err(command.exec()).context("ORDER_LINKER")
}

fn variable(name: &str) -> anyhow::Result<OsString> {
    std::env::var_os(name).with_context(|| format!("{name} is not set"))
}

fn joined(flag: &str, value: &OsStr) -> OsString {
    let mut argument = OsString::from(flag);
    argument.push(value);
    argument
}

/// Several functions have one mark where the compiler has made the same one twice.
fn names_by_mark(arguments: &[OsString]) -> anyhow::Result<HashMap<u32, Vec<String>>> {
    let mut names = HashMap::<u32, Vec<String>>::new();
    let mut add = |bytes: &[u8]| -> anyhow::Result<()> {
        for symbol in object::File::parse(bytes)?.symbols().filter(|symbol| symbol.is_definition()) {
            // What has no name in Unicode is no function of ours.
            if let Ok(name) = symbol.name() {
                names.entry(mark(name)).or_default().push(name.to_owned());
            }
        }
        Ok(())
    };
    for path in arguments.iter().map(Path::new) {
        let extension = path.extension().unwrap_or_default();
        if !(extension == "o" || extension == "rlib") || !path.is_file() {
            continue;
        }
        let file = std::fs::read(path).with_context(|| path.display().to_string())?;
        if extension == "o" {
            add(&file).with_context(|| path.display().to_string())?;
            continue;
        }
        for member in ArchiveFile::parse(&*file).with_context(|| path.display().to_string())?.members() {
            let member = member?;
            if member.name().ends_with(b".o") {
                add(member.data(&*file)?).with_context(|| path.display().to_string())?;
            }
        }
    }
    Ok(names)
}

fn output(arguments: &[OsString]) -> Option<PathBuf> {
    let flag = arguments.iter().position(|argument| argument == "-o")?;
    arguments.get(flag + 1).map(PathBuf::from)
}
