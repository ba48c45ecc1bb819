"""The demo's site while it serves: what a visitor sees of it, and does."""

import hashlib
import http.cookiejar
import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from local.machine import free_port

SITE = Path(__file__).resolve().parent.parent / "demo" / "site"
PATIENCE = 60


class RunningSite:
    """`with RunningSite(environment) as site:`; the environment says which database and bucket it has."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.address = f"http://127.0.0.1:{free_port()}"
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies)

    def __enter__(self) -> "RunningSite":
        command = [sys.executable, "manage.py", "runserver", "--noreload", self.address.removeprefix("http://")]
        self._process = subprocess.Popen(
            command, cwd=SITE, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.status("/healthz")
                return self
            except urllib.error.URLError:
                assert time.monotonic() < deadline and self._process.poll() is None, "the site does not come up"
                time.sleep(0.2)

    def __exit__(self, *_) -> None:
        self._process.terminate()
        self._process.wait()

    def status(self, path: str) -> int:
        try:
            with self._opener.open(self.address + path, timeout=PATIENCE) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def get(self, path: str) -> bytes:
        with self._opener.open(self.address + path, timeout=PATIENCE) as answer:
            return answer.read()

    def review(self, product: int, text: str) -> None:
        """Writes a review, by the form of the product's page."""
        page = f"{self.address}/products/{product}/"
        form = self._opener.open(page, timeout=PATIENCE).read().decode()
        token = form.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
        fields = {"csrfmiddlewaretoken": token, "stars": "4", "text": text}
        with self._opener.open(page + "reviews", urllib.parse.urlencode(fields).encode(), timeout=PATIENCE) as answer:
            assert answer.status == 200

    def all_of_it(self) -> dict[str, str]:
        """What a visitor sees: of every third product the page without what differs each time, and the picture; as digests."""
        products = json.loads(self.get("/products.json"))["products"]
        seen = {"/products.json": digest(self.get("/products.json").replace(self.address.encode(), b""))}
        for product in products[::3]:
            path = f"/products/{product['id']}/"
            lines = self.get(path).splitlines()
            seen[path] = digest(b"\n".join(line for line in lines if b"csrfmiddlewaretoken" not in line))
            if product["image"]:
                picture = urllib.parse.urlsplit(product["image"]).path
                seen[picture] = digest(self.get(picture))
        return seen


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
