//! Entry point: parse, run, print the error, exit code.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    quiet_loader();
    quiet_pipes();
    let done = cli::run();
    match &done {
        _ if cli::unheard(&done) => ExitCode::from(BROKEN_PIPE),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::tell(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// What a shell says of a program that was ended by a broken pipe.
const BROKEN_PIPE: u8 = 128 + 13;

/// `entoptic layers | head` ends with what `head` wants to see: where nobody reads any more, printing is no panic. The standard
/// library's macros know no other way to tell.
fn quiet_pipes() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let Some(failure) = panic.payload_as_str().and_then(|said| said.strip_prefix("failed printing to ")) else {
            return usual(panic);
        };
        // Of Unix, and of Windows' files and pipes.
        if ["(os error 32)", "(os error 109)", "(os error 232)"].iter().any(|code| failure.ends_with(code)) {
            std::process::exit(BROKEN_PIPE.into());
        }
        cli::tell(format_args!("error: printing to {failure}"));
        std::process::exit(1);
    }));
}

/// Without this variable the Vulkan loader of a Linux machine without a desktop prints an error about a window system that
/// nobody asked for, at every start.
#[allow(unsafe_code)]
fn quiet_loader() {
    const VARIABLE: &str = "XDG_RUNTIME_DIR";
    if cfg!(target_os = "linux") && std::env::var_os(VARIABLE).is_none() {
        // SAFETY: this is the first thing that the process does, so no other thread reads the environment.
        unsafe { std::env::set_var(VARIABLE, std::env::temp_dir()) };
    }
}
