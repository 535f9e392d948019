//! A process, stopped at the first call of each of its functions.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use object::{Object as _, ObjectSymbol as _, SymbolKind};
use secretmount_order::{line, mark, read};

/// The instruction `int3`.
const BREAKPOINT: u8 = 0xcc;

/// `arguments` are the list, the program and what that is called with. Says how the program ended.
///
/// # Errors
/// When it cannot be read, started or traced, or a signal ends it.
pub fn run(arguments: &[OsString]) -> anyhow::Result<u8> {
    let [list, program, arguments @ ..] = arguments else { bail!("LIST and PROGRAM are missing") };
    let mut list = List::open(Path::new(list))?;
    let marks = marks_by_address(Path::new(program))?;
    let process = start(program, arguments)?;
    let mut breakpoints = Breakpoints::plant(process, marks)?;
    ptrace::cont(process, None)?;
    loop {
        let (thread, signal) = match waitpid(None, Some(WaitPidFlag::__WALL))? {
            WaitStatus::Exited(exited, status) if exited == process => return Ok(u8::try_from(status)?),
            WaitStatus::Signaled(exited, signal, _) if exited == process => bail!("the program ended with {signal}"),
            WaitStatus::Stopped(thread, Signal::SIGTRAP) => {
                if let Some(mark) = breakpoints.met_by(thread)? {
                    list.add(mark)?;
                }
                (thread, None)
            }
            WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
            WaitStatus::PtraceEvent(thread, ..) => (thread, None),
            _ => continue,
        };
        // A thread that has ended meanwhile cannot go on.
        match ptrace::cont(thread, signal) {
            Ok(()) | Err(nix::Error::ESRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Where each function begins in the file, and its mark.
fn marks_by_address(program: &Path) -> anyhow::Result<HashMap<u64, u32>> {
    let bytes = std::fs::read(program).with_context(|| program.display().to_string())?;
    let file = object::File::parse(&*bytes)?;
    let functions = file.symbols().filter(|symbol| symbol.is_definition() && symbol.kind() == SymbolKind::Text);
    let marks: HashMap<_, _> =
        functions.filter_map(|symbol| Some((symbol.address(), mark(symbol.name().ok()?)))).collect();
    anyhow::ensure!(!marks.is_empty(), "{} has no symbols", program.display());
    Ok(marks)
}

/// The program before its first instruction. It dies when this process does.
fn start(program: &OsString, arguments: &[OsString]) -> anyhow::Result<Pid> {
    let child = Command::new("/bin/sh")
        .args(["-c", "kill -STOP $$; exec \"$0\" \"$@\""])
        .arg(program)
        .args(arguments)
        .spawn()?;
    let process = Pid::from_raw(i32::try_from(child.id())?);
    waitpid(process, Some(WaitPidFlag::WUNTRACED))?;
    let options = Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL;
    ptrace::seize(process, options)?;
    kill(process, Signal::SIGCONT)?;
    loop {
        match waitpid(process, None)? {
            WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXEC) => return Ok(process),
            WaitStatus::Stopped(..) | WaitStatus::PtraceEvent(..) => ptrace::cont(process, None)?,
            other => bail!("the program did not start: {other:?}"),
        }
    }
}

/// The breakpoints of a process.
struct Breakpoints {
    memory: File,
    /// By address in the process: the byte that was there, and the function's mark. As wide as the mark, because rustc 1.95
    /// spoils it where there is padding between them.
    planted: HashMap<u64, (u32, u32)>,
}

impl Breakpoints {
    fn plant(process: Pid, marks: HashMap<u64, u32>) -> anyhow::Result<Self> {
        let memory = OpenOptions::new().read(true).write(true).open(PathBuf::from(format!("/proc/{process}/mem")))?;
        let base = base(process)?;
        let mut planted = HashMap::new();
        for (address, mark) in marks {
            let address = base + address;
            let mut was = [0];
            memory.read_exact_at(&mut was, address)?;
            memory.write_all_at(&[BREAKPOINT], address)?;
            planted.insert(address, (u32::from(was[0]), mark));
        }
        Ok(Self { memory, planted })
    }

    /// Puts the function back that a thread has begun. `None` where the thread has stopped for another reason.
    fn met_by(&mut self, thread: Pid) -> anyhow::Result<Option<u32>> {
        let mut registers = ptrace::getregs(thread)?;
        let address = registers.rip - 1;
        let Some((was, mark)) = self.planted.get(&address) else { return Ok(None) };
        // Another thread may meet it before it is away; then this happens twice.
        self.memory.write_all_at(&[u8::try_from(*was)?], address)?;
        registers.rip = address;
        ptrace::setregs(thread, registers)?;
        Ok(Some(*mark))
    }
}

/// Where the program was loaded to: its file is mapped first.
fn base(process: Pid) -> anyhow::Result<u64> {
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps"))?;
    let first = maps.split('-').next().context("nothing is mapped")?;
    Ok(u64::from_str_radix(first, 16)?)
}

/// A list that grows.
struct List {
    file: File,
    has: HashSet<u32>,
}

impl List {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let file =
            OpenOptions::new().append(true).create(true).open(path).with_context(|| path.display().to_string())?;
        Ok(Self { file, has: read(path)?.into_iter().collect() })
    }

    /// At once, because nobody knows how the program will end.
    fn add(&mut self, mark: u32) -> anyhow::Result<()> {
        if self.has.insert(mark) {
            self.file.write_all(line(mark).as_bytes())?;
        }
        Ok(())
    }
}
