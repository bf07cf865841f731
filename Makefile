# make demo   shows the main job on virtual drives: no root, no hardware
# make truth  prints what every technique claims on every virtual drive with every fault, and what is true
# make test   runs everything that must hold: vet, unit tests with the race detector, scripts, fuzz seeds
# make test-e2e  the program in real kernels, beside other people's tools: docs/testing.md
# make bench  what it costs, and beside fio, dd, shred, scrub and nwipe where they are installed (as root: docs/testing.md)
# Tests on loop devices run when make test is run as root, and say so when they are skipped.

GO ?= go

# Tests make racks and states of many small files: in memory, where there is much of it and programs can be run
# from there. They collect garbage when half a gigabyte of it is there, which took them a third of their time.
MEMORY = $(if $(TMPDIR),,$(shell awk '$$2 == "/dev/shm" { on = $$4 } END { exit !on || on ~ /noexec/ }' /proc/mounts 2>/dev/null && \
	[ "$$(df -Pk /dev/shm | awk 'END { print $$4 }')" -gt 8388608 ] && echo TMPDIR=/dev/shm))
TEST = $(GO) test -count 1 -timeout 30m -exec "env GOGC=off GOMEMLIMIT=512MiB $(MEMORY)"

.PHONY: demo test test-e2e truth build fuzz bench bench-quick fmt clean

demo: build
	./bin/expunge demo

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/ ./cmd/...

# Results are not kept: what a test of racks opens is more than go can look through afterwards.
test:
	@test -z "$$(gofmt -l .)" || { echo "gofmt is needed:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	GOOS=darwin CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/expunge-verify
	GOOS=windows CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/expunge-verify
	$(TEST) -race -short ./...
	$(TEST) -skip Sixty ./agent ./agent/page ./cmd/expunge
	$(TEST) -run 'EveryByteCounts|ClosedIsThreeReadings' ./attest
	$(GO) test -count 1 -run Sixty ./cmd/expunge
	cd tools && $(GO) vet ./... && $(GO) test -count 1 ./...

# Kernels and tools are Debian's, unpacked into a cache; what cannot be had is skipped, and said.
test-e2e:
	internal/e2e/packages.sh
	EXPUNGE_E2E=1 $(TEST) -parallel 3 ./internal/e2e

# What is claimed against what is on the medium: every profile, technique and fault, a line each.
truth:
	@$(GO) test -c -o bin/truth ./agent
	@cd agent && GOGC=off GOMEMLIMIT=512MiB ../bin/truth -test.run '^TestTruth$$' -truth

# One minute for each fuzz target; make test runs their seeds.
fuzz:
	for p in ./attest ./sanitize ./sanitize/journal ./devices ./devices/virtual ./devices/nvme ./devices/scsi ./devices/ata ./agent/server; do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep ^Fuzz); do $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime 60s -fuzzminimizetime 10x $$p || exit 1; done; \
	done

bench:
	$(GO) test -run '^$$' -bench . ./internal/keystream ./devices/blockio ./sanitize/overwrite ./attest ./attest/render
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/expunge-verify ./cmd/expunge-verify && wc -c bin/expunge-verify
	cd tools && $(GO) run ./bench $(BENCH)

# Only that the comparison works: tiny drives, one round, no speeds. It fails when a drive was not overwritten.
bench-quick:
	cd tools && $(GO) run ./bench -quick

fmt:
	gofmt -w .

clean:
	rm -rf bin
