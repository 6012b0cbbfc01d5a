//! `espway schema`: the configuration's shape for other programs.
use clap::ValueEnum;
use std::io::Write;
use std::process::ExitCode;

/// Print what a configuration may hold, for other programs.
#[derive(clap::Args)]
pub struct Args {
    /// What to print: JSON Schema of the file, or OpenAPI of REST.
    #[arg(long, value_enum, default_value = "json-schema")]
    format: Format,
}
#[derive(Clone, Copy, ValueEnum)]
enum Format {
    JsonSchema,
    #[value(name = "openapi")]
    OpenApi,
}

pub fn schema(args: &Args) -> anyhow::Result<ExitCode> {
    let document = match args.format {
        Format::JsonSchema => config::describe::json_schema(),
        Format::OpenApi => config::describe::openapi(),
    };
    // Whoever stops reading (`| head`) has seen enough.
    let _ = writeln!(std::io::stdout().lock(), "{document:#}");
    Ok(ExitCode::SUCCESS)
}
