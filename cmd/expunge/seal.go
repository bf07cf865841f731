package main

import "github.com/expunge-dev/expunge/agent"

// sealer signs the seal of a page: a c2sp.org/signed-note of a text, by the key of the state's log.
type sealer interface {
	SignNote(text string) ([]byte, error)
}

// manifester signs what pins a register: an in-toto statement whose subject is the file, in an envelope.
type manifester interface {
	SignManifest(name string, sha256 [32]byte) ([]byte, error)
}

// sealerOf is what seals pages; nil where the agent has nothing that does, and then they have no seal.
func sealerOf(ag *agent.Agent) sealer {
	s, _ := any(ag).(sealer)
	return s
}

// manifesterOf is what signs manifests of registers; nil as above.
func manifesterOf(ag *agent.Agent) manifester {
	m, _ := any(ag).(manifester)
	return m
}
