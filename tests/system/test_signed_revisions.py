"""Signed revisions under systemd: the sandbox of the units lets git, OpenSSH and GnuPG verify, with files of root."""

from tests.system.box import wait_until
from tests.system.site import RUNNER, SETTINGS, SKIPJACK, Site

MIRROR = "upstream: rsync://127.0.0.1/files/\n"
RULES = (
    ", verify_signatures: {allowed_signers: /etc/skipjack/allowed_signers, keyring: /etc/skipjack/signers,"
    " revoked: /etc/skipjack/revoked}"
)
KEYS = """
mkdir -p /root/keys /etc/skipjack/signers
ssh-keygen -q -t ed25519 -N '' -f /root/keys/ssh
echo "ada $(cat /root/keys/ssh.pub)" > /etc/skipjack/allowed_signers
echo '# none so far' > /etc/skipjack/revoked
export GNUPGHOME=/root/keys/gnupg
mkdir -m 700 $GNUPGHOME
gpg --batch --quiet --passphrase '' --quick-gen-key 'Bob <bob@mirrors.example>' ed25519 sign never
gpg --armor --export > /etc/skipjack/signers/bob.asc
"""


def commit(site: Site, files: dict[str, str], *settings: str) -> str:
    """Commit and push files with these settings of git, and return the commit."""
    box = site.box
    for setting in ("commit.gpgsign=true", *settings):
        box.do("git", "-C", "/srv/tree", "config", *setting.split("=", 1))
    for name, text in files.items():
        box.write(f"/srv/tree/{name}", text)
    box.shell(
        "export GNUPGHOME=/root/keys/gnupg; cd /srv/tree; git add --all; git commit -q -m x; git push -q origin HEAD"
    )
    return box.do("git", "-C", "/srv/tree", "rev-parse", "HEAD")


def test_the_units_follow_signed_revisions_only(site: Site) -> None:
    box = site.box
    box.shell(KEYS)
    box.write(SETTINGS, RUNNER.replace("'}", f"'{RULES}}}"))
    commit(site, {"a.yml": MIRROR}, "gpg.format=ssh", "user.signingkey=/root/keys/ssh")
    site.install()
    site.wait_for_revision()
    site.wait_for("a", "success")
    assert "signed by ada with the key SHA256:" in box.do(SKIPJACK, "next")

    commit(site, {"b.yml": MIRROR}, "gpg.format=openpgp", "user.signingkey=bob@mirrors.example")
    site.wait_for_revision()
    assert "signed by Bob <bob@mirrors.example>" in box.do(SKIPJACK, "next")

    before = site.revision()
    bad = commit(site, {"c.yml": MIRROR}, "commit.gpgsign=false")
    wait_until(lambda: f"commit {bad[:12]}" in box.run(SKIPJACK, "next").stderr, "the rejected revision is shown")
    assert "has no signature" in box.run(SKIPJACK, "next").stderr
    assert site.revision() == before
    assert not list(box.path("/var/lib/skipjack/checkout").glob("signatures-*"))
    box.do("systemctl", "start", "skipjack-tick.service")
    assert "c" not in site.mirrors()
