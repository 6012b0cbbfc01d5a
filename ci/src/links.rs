//! Links in the documents: what a relative one points at must exist.
use crate::cargo;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Checks every Markdown file that belongs to the repository.
pub fn check() -> Result<()> {
    let mut broken = Vec::new();
    let mut files = 0;
    for file in markdown_files(&cargo::root())? {
        files += 1;
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let folder = file.parent().context("a file has a folder")?;
        for target in targets(&text) {
            let path = target.split('#').next().unwrap_or_default();
            if !path.is_empty() && !folder.join(path).exists() {
                broken.push(format!("{}: {target}", file.display()));
            }
        }
    }
    ensure!(files > 0, "no Markdown files found");
    ensure!(broken.is_empty(), "links to nothing:\n{}", broken.join("\n"));
    println!("{files} documents, no broken links");
    Ok(())
}

/// Markdown files below `folder`, without what is built or hidden.
fn markdown_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !path.is_symlink() && name != "target" && !name.starts_with('.') {
            found.extend(markdown_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    Ok(found)
}

/// Relative targets of `[text](target)`, outside code blocks.
fn targets(text: &str) -> Vec<String> {
    let mut in_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for rest in line.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or_default();
            if !target.contains("://") && !target.starts_with("mailto:") {
                found.push(target.to_owned());
            }
        }
    }
    found
}

/// Every command line the front page shows in a `console` block starts with a program that exists as a verb here.
pub fn check_commands() -> Result<()> {
    let text = std::fs::read_to_string(cargo::root().join("README.md"))?;
    let verbs: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("cargo ci ")).collect();
    ensure!(verbs.len() >= 2, "the front page must show the two commands");
    for line in verbs {
        // What follows `bench` is another program's, whose own test reads this page.
        let line = line.find("bench ").map_or(line, |at| &line[..at + "bench".len()]);
        let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        let own = std::env::current_exe()?;
        let out = Command::new(own).args(&words).arg("--help").output()?;
        ensure!(
            out.status.success(),
            "README.md: `cargo ci {}`: {}",
            words.join(" "),
            String::from_utf8_lossy(&out.stderr)
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::targets;

    #[test]
    fn links_are_found_outside_code() {
        let text =
            "[a](docs/a.md) and [b](https://example.org) ![c](c.png#x)\n```\n[d](gone.md)\n```\n[e](#here)";
        assert_eq!(targets(text), ["docs/a.md", "c.png#x", "#here"]);
    }
}
