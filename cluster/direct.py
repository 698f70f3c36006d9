"""HTTP to where GreenFlow's own servers and Ray's listen: straight there, whatever proxies the environment names.

A proxy for the outside does not reach 127.0.0.1, nor should it see a token.
"""

from urllib.request import ProxyHandler, build_opener

DIRECT = build_opener(ProxyHandler({}))
