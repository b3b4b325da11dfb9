"""Which line of a log names the error? With the output of real programs that fail."""

from pathlib import Path

import pytest

from runner.run.log_errors import whole_error_line

LOGS = {
    "requests": """
Traceback (most recent call last):
  File "/usr/lib/python3/dist-packages/urllib3/connectionpool.py", line 449, in _make_request
    six.raise_from(e, None)
TimeoutError: The read operation timed out

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/opt/sync/pypi.py", line 12, in <module>
    raise ReadTimeout("error: " + e, request=request)
> requests.exceptions.ReadTimeout: HTTPSConnectionPool(host='up.example', port=443): Read timed out. (read timeout=60)
cleaning up
""",
    "an exception of its own": """
Traceback (most recent call last):
  File "sync.py", line 4, in <module>
    raise IndexIsEmpty(url)
> __main__.IndexIsEmpty: https://up.example.org/simple/
sync failed
""",
    "an exception without words": """
Traceback (most recent call last):
  File "sync.py", line 4, in <module>
    raise Stop
           ^^^^
> Stop
""",
    "an exception without words for one with words": """
Traceback (most recent call last):
  File "<string>", line 4, in <module>
> FileNotFoundError: [Errno 2] No such file or directory: '/none'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "<string>", line 6, in <module>
Foo
""",
    "a Python wrapper of a program": """
> fatal: repository '/nonexist' does not exist
Traceback (most recent call last):
  File "/usr/lib/python3.11/subprocess.py", line 571, in run
    raise CalledProcessError(retcode, process.args,
subprocess.CalledProcessError: Command '['git', 'fetch']' returned non-zero exit status 128.
""",
    "subprocess": """
Traceback (most recent call last):
  File "/usr/lib/python3.11/subprocess.py", line 2038, in _wait
    raise TimeoutExpired(self.args, timeout)
> subprocess.TimeoutExpired: Command '['sleep', '5']' timed out after 0.0999762550000014 seconds
""",
    "a line of ours in a traceback": """
Traceback (most recent call last):
  File "x.py", line 1, in <module>
skipjack: the log was larger than 65536 bytes; 00000000000000000010 bytes were cut here
    raise Odd()
> Odd: no such thing
""",
    "colours": """
\x1b[32mINFO\x1b[0m starting, error handler ready
\x1b[1;31mfatal: \x1b[mno index\x1b[0m
""",
    "a line that is written over": "\r  0%  0\r 10%  0\rcurl: (18) transfer closed with outstanding data\n",
    "rclone": """
2024/05/01 12:00:00 ERROR : a/b.iso: Failed to copy: multipart copy: write failed: no space left on device
2024/05/01 12:00:01 ERROR : Attempt 3/3 failed with 1 errors and: multipart copy: write failed: no space left on device
2024/05/01 12:00:01 INFO  : There was nothing to transfer
> 2024/05/01 12:00:01 Failed to sync: multipart copy: write failed: no space left on device
""",
    "rclone with a notice": """
2024/05/01 12:00:01 ERROR : Local file system at /srv: not deleting files as there were IO errors
> 2024/05/01 12:00:01 NOTICE: Failed to sync with 2 errors: last error was: directory not found
""",
    "perl": """
Use of uninitialized value $x in concatenation (.) or string at /usr/bin/apt-mirror line 12.
> apt-mirror: can't open index in process_index at /usr/bin/apt-mirror line 800.
done
""",
    "perl that reads a file": '> Can\'t locate object method "x" at sync.pl line 3, <STDIN> line 7.\nbye\n',
    "debmirror": """
Get:1 http://ftp.example.org sid/main
> Download of dists/sid/Release failed: 404 Not Found
Errors:
releasing 1 pending lock... at /usr/share/perl5/LockFile/Simple.pm line 182.
""",
    "npm": """
npm error code ECONNREFUSED
npm error syscall connect
npm error errno ECONNREFUSED
> npm error FetchError: request to http://127.0.0.1:59999/x failed, reason: connect ECONNREFUSED 127.0.0.1:59999
npm error     at ClientRequest.<anonymous> (/usr/lib/node_modules/npm/lib/index.js:130:14)
npm error   code: 'ECONNREFUSED',
npm error
npm error If you are behind a proxy, please make sure that the 'proxy' config is set properly.  See: 'npm help config'
npm error A complete log of this run can be found in: /root/.npm/_logs/2026-11-30T00_41_51_846Z-debug-0.log
""",
    "an older npm": """
npm ERR! code E404
> npm ERR! 404 Not Found - GET https://registry.example.org/x - Not found
npm ERR! A complete log of this run can be found in:
npm ERR!     /root/.npm/_logs/2020-01-01T00_00_00_000Z-debug.log
""",
    "node": """
node:events:502
      throw er; // Unhandled 'error' event
      ^

> Error: connect ECONNREFUSED 127.0.0.1:59999
    at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1611:16)
Emitted 'error' event on ClientRequest instance at:
    at emitErrorEvent (node:_http_client:101:11)
  errno: -111,

Node.js v20.20.2
""",
    "java": """
> Exception in thread "main" java.lang.IllegalStateException: no index
\tat M.main(M.java:2)
""",
    "java with a cause": """
Exception in thread "main" java.lang.RuntimeException: sync failed
\tat M.main(M.java:2)
> Caused by: java.net.ConnectException: Connection refused
\tat java.base/sun.nio.ch.Net.pollConnect(Native Method)
\t... 9 more
""",
    "a panic in Go": """
> panic: assignment to entry in nil map

goroutine 1 [running]:
main.main()
\t/tmp/g.go:3 +0x7f
exit status 2
""",
    "a log of Go": """
> 2026/11/30 00:43:10 dial tcp 127.0.0.1:59999: connect: connection refused
exit status 1
""",
    "logfmt": """
time="2026-11-30T00:43:10Z" level=info msg="0 errors so far"
> time="2026-11-30T00:43:11Z" level=error msg="cannot pull image"
time="2026-11-30T00:43:12Z" level=info msg="bye"
""",
    "a panic in Rust": """
thread 'main' panicked at src/main.rs:12:5:
> index of the upstream is empty
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
""",
    "ruby": """
> sync.rb:3:in `fetch': the index is empty (RuntimeError)
\tfrom sync.rb:9:in `<main>'
""",
    "wget": """
--2026-11-30 00:43:16--  http://127.0.0.1:58888/error.html
HTTP request sent, awaiting response... 404 File not found
> 2026-11-30 00:43:16 ERROR 404: File not found.

""",
    "wget without a server": """
Connecting to 127.0.0.1:59999... connected.
Reusing existing connection.
> Connecting to 127.0.0.1:59999... failed: Connection refused.
""",
    "curl": """
> curl: (7) Failed to connect to 127.0.0.1 port 59999 after 0 ms: Couldn't connect to server

cleaning up
""",
    "a wrapper of curl": """
> curl: (7) Failed to connect to 127.0.0.1 port 59999 after 0 ms: Couldn't connect to server
ERROR: curl exited with 7

cleaning up
""",
    "ssh": """
> ssh: connect to host 127.0.0.1 port 59999: Connection refused

cleaning up
""",
    "lftp": """
> mirror: Fatal error: max-retries exceeded (Connection refused)
1 error detected
""",
    "lftp at a login": "> cd: Login failed: 530 Login incorrect\nTotal: 0 directories, 0 files, 0 symlinks\n",
    "git": """
> error: RPC failed; curl 56 GnuTLS recv error (-54): Error in the pull function.
fatal: the remote end hung up unexpectedly
fatal: early EOF
fatal: index-pack failed
""",
    "bandersnatch": """
2024-05-01 12:00:00,123 INFO: 0 errors (mirror.py:88)
> 2024-05-01 12:00:00,123 ERROR: Error syncing package: x@12: cannot connect to host up.example:443 (mirror.py:371)
2024-05-01 12:00:01,123 INFO: Cleaning up (mirror.py:90)
""",
    "aptly": """
Downloading http://ftp.example.org/dists/sid/InRelease...
> ERROR: unable to update: malformed stanza syntax
""",
    "dnf reposync": """
Errors during downloading metadata for repository 'baseos':
  - Curl error (6): Couldn't resolve host name for https://up.example.org/repodata/repomd.xml
> Error: Failed to download metadata for repo 'baseos': Cannot download repomd.xml: All mirrors were tried
""",
    "gpg": 'gpg: Signature made Wed\n> gpg: BAD signature from "Debian" [unknown]\nscript failed\n',
    "a wrapper's own words": """
> curl: (6) Could not resolve host: up.example.org
cleaning up
2026-01-01 10:00:00 ERROR: cannot download the index
""",
    "an error long after one that a script got over": """
curl: (28) Operation timed out after 60000 milliseconds
trying the next one
fetched a
fetched b
fetched c
> ERROR: the index has a wrong signature
""",
    "two errors of a wrapper": "ERROR: no index\n> ERROR: no mirror has it\n",
    "tar": """
> tar: /none.tar: Cannot open: No such file or directory
tar: Error is not recoverable: exiting now
""",
    "cp in make": "> cp: cannot stat '/none': No such file or directory\nmake: *** [mk:2: all] Error 1\n",
    "a program that crashed": "> sync.sh: line 1: 17977 Segmentation fault      ./fetch\nafter\n",
    "a program that was killed": "> sync.sh: line 3: 17977 Killed                  ./fetch\nafter\n",
    "sha256sum": "x: FAILED open or read\n> sha256sum: WARNING: 1 computed checksum did NOT match\nbye\n",
    "a certificate": "> SSL: certificate verify failed\nbye\n",
}
"""Logs; `> ` marks the line that names the error."""


@pytest.mark.parametrize("log", LOGS.values(), ids=LOGS.keys())
def test_the_line_that_names_the_error_is_found(tmp_path: Path, log: str) -> None:
    lines = log.strip("\n").split("\n")
    wanted = next((line for line in lines if line.startswith("> ")), lines[-1])
    (tmp_path / "log").write_text("\n".join(line.removeprefix("> ") for line in lines) + "\n")
    plain = wanted.removeprefix("> ").rpartition("\r")[2].replace("\x1b[1;31m", "").replace("\x1b[m", "")
    assert whole_error_line(str(tmp_path / "log")) == " ".join(plain.replace("\x1b[0m", "").split())


@pytest.mark.parametrize(
    "line",
    [
        "sync failed", "Sync failed!", "ERROR: exited with 1", "ERROR: sync failed", "[ERROR] mirror sync failed.",
        "Error: command failed with exit status 1", "rsync failed with exit code 23", "sync.sh: rsync returned 23",
        "Failed to sync debian", "fatal: script failed", "FAILED", "ERROR: giving up after 3 attempts",
        "Error: Process completed with exit code 1.", "ERROR: git clone failed", "exit status 2", "error: aborting",
        "2024-05-01 12:00:00 [ERROR] sync failed", "12:00:00 ERROR: rsync exited with status 23",
    ],
)  # fmt: skip
def test_a_general_line_of_a_wrapper_never_hides_the_cause(tmp_path: Path, line: str) -> None:
    log = tmp_path / "log"
    log.write_text(f"connect: Connection refused\n{line}\n")
    assert whole_error_line(str(log)) == "connect: Connection refused"


@pytest.mark.parametrize(
    "line",
    [
        "0 errors", "no errors", "Errors: 0", "errors: none", "Failed: 0", "failed : 0 files", "error: 0", "ERROR: 0",
        "0 ERROR, 0 WARN", "ERRORS = 0", "error.html", "/var/log/error: x", "GET /error.html 200", "errors=replace",
        "ERROR.txt", "log_error = yes", "exit code: 0", "exited with 0", "returned 0", "Downloaded 3 files", "---", "",
        "Use of uninitialized value $x in string at -e line 1.", "on-error: continue", "error:", "[FAILED]", "Skilled",
        "the mirror is up to date", "syncing debian", "thread 'main' started", "downloading failed-login.deb",
    ],
)  # fmt: skip
def test_lines_without_an_error_are_not_taken_for_one(tmp_path: Path, line: str) -> None:
    log = tmp_path / "log"
    log.write_text(f"begin\n{line}\nend\n")
    assert whole_error_line(str(log)) == ""


@pytest.mark.parametrize("line", ["error  " * 200 + "x", "error " + "!" * 60_000 + "x", " at" * 20_000, "a." * 30_000])
def test_a_hostile_line_is_judged_without_unbounded_backtracking(tmp_path: Path, line: str) -> None:
    """A regular expression that backtracks without bound would not end."""
    log = tmp_path / "log"
    log.write_text(f"fatal: no index\n{line}\n")
    assert whole_error_line(str(log)) == "fatal: no index"
