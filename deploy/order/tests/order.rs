//! Both programs, with one of them for what is linked and what is recorded.

use std::path::Path;
use std::process::{Command, Output};

use secretmount_order::{line, mark};

const LINK: &str = env!("CARGO_BIN_EXE_order-link");

fn link(folder: &Path, list: &str) -> Output {
    std::fs::write(folder.join("list"), list).expect("a folder to write to");
    std::fs::copy(LINK, folder.join("object.o")).expect("a folder to write to");
    let mut command = Command::new(LINK);
    command.arg(folder.join("object.o")).arg("-o").arg(folder.join("program"));
    command.env("ORDER_LIST", folder.join("list")).env("ORDER_LLD", folder).env("ORDER_LINKER", "echo");
    command.output().expect("it was built for this test")
}

#[test]
fn functions_are_linked_in_the_order_of_the_list() {
    let folder = tempfile::tempdir().expect("a folder");
    let list = format!("# a comment\n{}{}", line(mark("_start")), line(mark("main")));
    let output = link(folder.path(), &list);
    let order = folder.path().join("program.order");
    assert_eq!(std::fs::read_to_string(&order).expect("the order"), "_start\nmain");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(said.contains(&format!("--symbol-ordering-file={}", order.display())), "{said}");
    assert!(said.contains("-fuse-ld=lld"), "{said}");
}

#[test]
fn a_list_of_another_program_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for (unknown, is_taken) in [(0, true), (1, false)] {
        let known = ["_start", "main"].map(|name| line(mark(name))).concat();
        let output = link(folder.path(), &(known + &"00000000\n".repeat(unknown)));
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.success(), is_taken, "{said}");
        assert_eq!(said.contains("has 3 functions, and only 2 are in this program"), !is_taken, "{said}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn what_is_called_is_recorded_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let list = folder.path().join("list");
    let record = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_order-record"));
        let output =
            command.arg(&list).arg(LINK).env_remove("ORDER_LIST").output().expect("it was built for this test");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(said.contains("ORDER_LIST is not set") && output.status.code() == Some(1), "{said}");
        std::fs::read_to_string(&list).expect("the list")
    };
    let recorded = record();
    let has = |name: &str| recorded.contains(&line(mark(name)));
    assert!(has("_start") && has("main") && !has("secretmount_order::read"), "{recorded}");
    assert_eq!(record(), recorded);
}
