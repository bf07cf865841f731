#!/usr/bin/env bash
# Unpacks what tests with real kernels need, into a cache that survives runs. Nothing is installed by it.
set -euo pipefail
cache=${EXPUNGE_E2E_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/expunge-e2e}
mkdir -p "$cache"

# unpack NAME PACKAGE: Debian's package, unpacked in the directory NAME.
unpack() {
	[ -e "$cache/$1/unpacked" ] && return
	rm -rf "$cache/$1" && mkdir -p "$cache/$1"
	(cd "$cache/$1" && apt-get download "$2" >/dev/null 2>&1 && dpkg -x ./*.deb . && rm ./*.deb && touch unpacked) ||
		echo "$2 could not be downloaded: tests that need it are skipped"
}

unpack uml user-mode-linux
# The name of the newest kernel of its series is what the meta package depends on.
image=$(apt-cache depends linux-image-6.12-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: //p' | head -n 1)
[ -z "$image" ] || unpack kernel "$image"
