#!/usr/bin/env bash
# Unpacks what tests with real kernels need, into a cache that survives runs. Nothing is installed by it.
set -euo pipefail
cache=${EXPUNGE_E2E_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/expunge-e2e}
mkdir -p "$cache"

# unpack NAME PACKAGE...: Debian's packages, unpacked in the directory NAME.
unpack() {
	local dir=$cache/$1
	shift
	[ -e "$dir/unpacked" ] && return
	rm -rf "$dir" && mkdir -p "$dir"
	(cd "$dir" && apt-get download "$@" >/dev/null 2>&1 && for deb in ./*.deb; do dpkg -x "$deb" . || exit; done && rm ./*.deb && touch unpacked) ||
		echo "$* could not be downloaded: tests that need it are skipped"
}

unpack uml user-mode-linux
# With its libraries but those that every program has.
libraries=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances systemd 2>/dev/null | grep '^lib' | grep -v '^libc6\|^libgcc\|^libdebian' | sort -u)
# shellcheck disable=SC2086 # a word each
unpack systemd systemd $libraries
# The name of the newest kernel of its series is what the meta package depends on.
image=$(apt-cache depends linux-image-6.12-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: //p' | head -n 1)
[ -z "$image" ] || unpack kernel "$image"

# Other people's tools; the library of sg3-utils has its version in its name.
library=$(apt-cache depends sg3-utils 2>/dev/null | sed -n 's/^ *Depends: \(libsgutils\)/\1/p' | head -n 1)
unpack peers hdparm sg3-utils "${library:-libsgutils2}" smartmontools nvme-cli libnvme1 libjson-c5
