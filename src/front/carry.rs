//! Between a connection and its shard.

use std::io;

use housecall_sfu::{LinkError, StreamLink, StreamReader, StreamWriter};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::limits;

/// Why a connection ended before its peer closed it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the peer takes nothing")]
    Stuck,
}

/// Carries bytes both ways until either end is closed.
pub(super) async fn carry<S>(stream: S, link: StreamLink) -> Result<(), Ended>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let StreamLink {
        mut reader,
        mut writer,
        end,
    } = link;
    let (mut input, mut output) = tokio::io::split(stream);
    let ended = tokio::select! {
        ended = carry_up(&mut input, &mut reader) => ended,
        ended = carry_down(&mut output, &mut writer) => ended,
    };
    // The shard learns of it before the goodbye, which may take a while.
    drop(end);
    let _ = timeout(limits::GOODBYE, output.shutdown()).await;
    ended
}

async fn carry_up(input: &mut (impl AsyncRead + Unpin), reader: &mut StreamReader) -> Result<(), Ended> {
    loop {
        let buffer = reader.buffer().await?;
        if input.read_buf(buffer).await? == 0 {
            return Ok(());
        }
        while !reader.hand_over().await? {
            sleep(limits::BUSY_PAUSE).await;
        }
    }
}

async fn carry_down(output: &mut (impl AsyncWrite + Unpin), writer: &mut StreamWriter) -> Result<(), Ended> {
    while let Some(chunk) = writer.next().await {
        let write = async {
            output.write_all(&chunk).await?;
            output.flush().await
        };
        timeout(limits::WRITE_TIMEOUT, write)
            .await
            .map_err(|_| Ended::Stuck)??;
        writer.done(chunk);
    }
    Ok(())
}
