//! Embeds the web client: each file as it is and brotli-compressed, under a directory named by the hash of all files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What is embedded, relative to `web-client/`. Tests, types and package files stay out.
const DIRECTORIES: [&str; 6] = ["src", "styles", "icons", "locales", "fonts", "images"];
const FILES: [&str; 1] = ["manifest.webmanifest"];
/// In place of a client that is not there, so that the crate builds on its own.
const NO_CLIENT: &str =
    "<!doctype html>\n<html lang=\"en\"><title>Housecall</title><p>This build has no web client.</p></html>\n";

fn main() -> io::Result<()> {
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    let client = manifest.join("../web-client");

    let mut files = BTreeMap::new();
    for directory in DIRECTORIES {
        println!("cargo::rerun-if-changed={}", client.join(directory).display());
        collect(&client, &client.join(directory), &mut files)?;
    }
    for name in FILES.into_iter().chain(["index.html", "ops.html"]) {
        println!("cargo::rerun-if-changed={}", client.join(name).display());
    }
    for name in FILES.into_iter().filter(|name| client.join(name).is_file()) {
        files.insert(name.to_owned(), fs::read(client.join(name))?);
    }
    let base = format!("/assets/{:016x}/", hash(&files));
    let mut code = String::new();
    for (name, doc, constant) in [("index", "The page.", "INDEX"), ("ops", "The operator's page.", "OPS")] {
        let page = match fs::read_to_string(client.join(format!("{name}.html"))) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => NO_CLIENT.to_owned(),
            read => read?,
        };
        write!(code, "/// {doc}\npub(super) static {constant}: Asset = ").expect("string");
        embed(&mut code, &out, name, "/", "index.html", link(&page, &base).as_bytes())?;
        code.push_str(";\n");
    }
    code.push_str("/// All other files, by path.\npub(super) static ASSETS: &[Asset] = &[\n");
    for (number, (name, content)) in files.iter().enumerate() {
        embed(
            &mut code,
            &out,
            &number.to_string(),
            &format!("{base}{name}"),
            name,
            content,
        )?;
        code.push_str(",\n");
    }
    code.push_str("];\n");
    fs::write(out.join("assets.rs"), code)
}

/// Reads a directory, links and hidden files left out.
fn collect(root: &Path, directory: &Path, files: &mut BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    if !directory.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let name = entry.file_name().to_string_lossy().into_owned();
        if kind.is_dir() {
            collect(root, &path, files)?;
        } else if kind.is_file()
            && content_type(&name).is_some()
            && !name.contains(".test.")
            && !name.ends_with(".d.ts")
        {
            let relative = path
                .strip_prefix(root)
                .expect("below the root")
                .to_string_lossy()
                .replace('\\', "/");
            files.insert(relative, fs::read(&path)?);
        }
    }
    Ok(())
}

fn content_type(name: &str) -> Option<&'static str> {
    Some(match name.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "png" => "image/png",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        _ => return None,
    })
}

/// FNV-1a over names and contents. It names a version for caches and defends against nobody.
fn hash(files: &BTreeMap<String, Vec<u8>>) -> u64 {
    let parts = files
        .iter()
        .flat_map(|(name, content)| [name.as_bytes(), content.as_slice()]);
    let bytes = parts.flat_map(|part| {
        (part.len() as u64)
            .to_le_bytes()
            .into_iter()
            .chain(part.iter().copied())
    });
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Points the page to where its files are served. The files find each other by relative paths.
fn link(page: &str, base: &str) -> String {
    page.replace("{{assets}}", base.trim_end_matches('/'))
}

fn embed(code: &mut String, out: &Path, file: &str, path: &str, name: &str, content: &[u8]) -> io::Result<()> {
    let (plain, packed) = (out.join(format!("{file}.plain")), out.join(format!("{file}.br")));
    fs::write(&plain, content)?;
    let mut brotli = Vec::new();
    let parameters = brotli::enc::BrotliEncoderParams {
        quality: 11,
        mode: brotli::enc::backward_references::BrotliEncoderMode::BROTLI_MODE_TEXT,
        size_hint: content.len(),
        ..Default::default()
    };
    brotli::BrotliCompress(&mut &*content, &mut brotli, &parameters)?;
    fs::write(&packed, brotli)?;
    let content_type = content_type(name).expect("only known types are collected");
    write!(
        code,
        "Asset {{ path: {path:?}, content_type: {content_type:?}, plain: include_bytes!({plain:?}), brotli: include_bytes!({packed:?}) }}"
    )
    .expect("writing to a string does not fail");
    Ok(())
}
