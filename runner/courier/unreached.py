"""Why the manager could not be reached, in words, and what to do about it."""

import errno
import socket
import ssl

from schemas.http_client import NOT_TLS

_OTHER_NAME = (62, 64)  # of a host name, of an address
_EXPIRED, _NOT_YET = 10, 9
"""OpenSSL's results of the verification of a certificate."""

_NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN)

WRITE_HTTPS = "If that port speaks TLS, write `https://` in `manager.url` in runner.yml; else check the port."


def remedy(error: BaseException | None, *, has_ca: bool) -> str:
    """Return what to do; `has_ca` says whether `ca_cert` is set."""
    match error:
        case ssl.SSLCertVerificationError():
            return _of_certificate(error.verify_code, has_ca=has_ca)
        case ssl.SSLError(reason=reason) if reason in NOT_TLS:
            return "Write `http://` in `manager.url` in runner.yml, or the port that speaks TLS."
        case socket.gaierror():
            return "Check the host name in `manager.url` in runner.yml, and this machine's DNS."
        case ConnectionRefusedError():
            return "Check that the manager is running, and the port in `manager.url` in runner.yml."
        case TimeoutError():
            return "Look for a firewall on the way, and check host and port in `manager.url` in runner.yml."
        case OSError(errno=number) if number in _NO_WAY:
            return "Check this machine's network, and the host in `manager.url` in runner.yml."
        case ValueError():
            return "Check `manager.url` and `manager.ca_cert` in runner.yml."
    return "Check `manager.url` in runner.yml, and the log of the manager or of the proxy before it."


def _of_certificate(code: int, *, has_ca: bool) -> str:
    if code in _OTHER_NAME:
        return "Write a name that the certificate is for in `manager.url` in runner.yml, or renew it for this name."
    if code == _EXPIRED:
        return "Renew the manager's certificate (`manager.url` in runner.yml), and check this machine's clock."
    if code == _NOT_YET:
        return "Check this machine's clock and that of the manager (`manager.url` in runner.yml)."
    if has_ca:
        return "Put its authority's certificate into the file that `manager.ca_cert` names, or check `manager.url`."
    todo = "If your own authority has signed it, set `manager.ca_cert` in runner.yml to that authority's certificate"
    return f"{todo}; else check `manager.url`."
