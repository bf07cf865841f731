package attest

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// SessionType is the predicate type of a session.
const SessionType = "https://github.com/expunge-dev/expunge/session/v1"

// roleSession is of keys that live as long as one process and are nowhere but in its memory. A key of
// the host, which may be in hardware or behind a passphrase, vouches for each once.
const roleSession = "session"

// Session is the predicate by which a key of the host vouches for the key of one run of the program, and
// for the log that it writes.
type Session struct {
	Agent     Agent  `json:"agent"`
	Binary    string `json:"binarySHA256,omitempty"`
	Host      Host   `json:"host"`
	Key       string `json:"key"` // of the run, Ed25519: base64 of its SubjectPublicKeyInfo
	Log       LogAt  `json:"log"`
	Simulated bool   `json:"simulated"`
	Time      Time   `json:"time"`
}

// Host is what the machine says of itself. What it does not say is absent.
type Host struct {
	BootID       string `json:"bootID,omitempty"`
	Kernel       string `json:"kernel,omitempty"`
	Manufacturer string `json:"manufacturer,omitempty"`
	Product      string `json:"product,omitempty"`
	Serial       string `json:"serial,omitempty"`
	UUID         string `json:"uuid,omitempty"`
}

// LogAt is a log as it was when the session began: what comes after it in the log was made after this.
type LogAt struct {
	Keys []string `json:"keys"`           // ids of its Ed25519 key, which is in the log's origin, and its ML-DSA-44 key
	Root string   `json:"root,omitempty"` // hex; absent while it was empty
	Size int64    `json:"size"`
}

func (s Session) check() error {
	key, err := parseKey(s.Key)
	if err != nil {
		return err
	}
	words := []string{s.Host.BootID, s.Host.Kernel, s.Host.Manufacturer, s.Host.Product, s.Host.Serial, s.Host.UUID}
	return checkRules([]rule{
		{key.Alg == Ed25519, "the session's key is not Ed25519"},
		{s.Agent.Name != "" && s.Agent.Version != "", "the agent is missing"},
		{optional(s.Binary, isHash), "the program's hash is not one"},
		{isASCII(words...), "the host's words are not printable ASCII"},
		{len(s.Log.Keys) == 2 && isHash(s.Log.Keys[0]) && isHash(s.Log.Keys[1]), "the log's keys are not two ids"},
		{s.Log.Size >= 0 && (s.Log.Size > 0) == (s.Log.Root != "") && optional(s.Log.Root, isHash), "the log's size and root do not fit"},
		{isTime(s.Time.Claimed) && s.Time.Source != "", "the time is not UTC in seconds"},
	})
}

// subjects names the key by its id. One that cannot be read has none, and was refused before.
func (s Session) subjects() []Subject {
	key, err := parseKey(s.Key)
	if err != nil {
		return nil
	}
	return []Subject{{"session-key/v1", Digest{key.ID}}}
}

// Run is one run of the program as a signer: it makes a session key when it first signs, and has it
// vouched for. Its methods may be called from several goroutines.
type Run struct {
	Agent     Agent
	Binary    string // hex SHA-256 of the program; "" when it cannot be told
	Host      Host
	Simulated bool

	mu    sync.Mutex
	key   *Key
	host  string // id of the key that vouches for it
	leaf  string // of its session
	index int64
}

// session returns the run's key. At the first use of a log it is made, and its session signed and logged.
func (is Issuer) session(t *tree) (*Key, error) {
	r := is.Run
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.key != nil && r.host == is.Key.ID && r.index < t.size {
		hashes, err := t.ReadHashes([]int64{tlog.StoredHashIndex(0, r.index)})
		if err != nil {
			return nil, err
		}
		if hashText(hashes[0]) == r.leaf {
			return r.key, nil
		}
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make session key: %w", err)
	}
	key, err := NewKey(private, roleSession)
	if err != nil {
		return nil, err
	}
	s := Session{Agent: r.Agent, Binary: r.Binary, Host: r.Host, Key: key.text(), Simulated: r.Simulated, Time: is.time(), Log: LogAt{
		Keys: []string{is.Log.key.Ed25519.ID, is.Log.key.MLDSA44.ID}, Size: t.size,
	}}
	if t.size > 0 {
		s.Log.Root = hashText(t.root)
	}
	if err := is.Log.keepPublicKey(is.Key.Public, is.Log.key.Ed25519, is.Log.key.MLDSA44); err != nil {
		return nil, err
	}
	l, index, err := addStatement(t, SessionType, s, is.Key, leaf{Kind: kindSession, Session: key.ID})
	if err != nil {
		return nil, err
	}
	if r.leaf, err = leafHash(l); err != nil {
		return nil, err
	}
	r.key, r.host, r.index = key, is.Key.ID, index
	return key, nil
}
