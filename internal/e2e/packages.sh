#!/usr/bin/env bash
# Unpacks what tests with real kernels need, into a cache that survives runs. Nothing is installed by it.
set -euo pipefail
cache=${EXPUNGE_E2E_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/expunge-e2e}
mkdir -p "$cache"

# unpack NAME PACKAGE...: Debian's packages, unpacked together in the directory NAME.
unpack() {
	local name=$1
	shift
	[ -e "$cache/$name/unpacked" ] && return
	rm -rf "${cache:?}/$name" && mkdir -p "$cache/$name"
	(cd "$cache/$name" && apt-get download "$@" >/dev/null 2>&1 && for p in *.deb; do dpkg -x "$p" . && rm "$p"; done && touch unpacked) ||
		echo "$* could not be downloaded: tests that need it are skipped"
}

unpack uml user-mode-linux
# The name of the newest kernel of its series is what the meta package depends on.
image=$(apt-cache depends linux-image-6.12-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: //p' | head -n 1)
[ -z "$image" ] || unpack kernel "$image"
# nvme-cli with the libraries that few machines have; the others are this machine's.
unpack nvme-cli nvme-cli libnvme1 libjson-c5
