package keystore

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"time"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/internal/strict"
)

// SignerSchema names the format of a ROLE.signer file.
const SignerSchema = "expunge/signer/v1"

// The bounds of an answer of an external signer.
const (
	maxAnswer      = 16 << 10 // bytes
	defaultTimeout = 30 * time.Second
)

// SignerFile says where another program signs, and with which key. The key is here and not asked for: a signer that
// has another one is found out, whatever it says.
type SignerFile struct {
	PublicKey      string `json:"public_key"` // PEM
	Schema         string `json:"schema"`
	Socket         string `json:"socket"`                    // absolute path of a Unix socket
	TimeoutSeconds int64  `json:"timeout_seconds,omitempty"` // for each signature, connecting included; 30 when it is not there
}

// SignRequest is what the signer is asked: one line of JSON, on a connection of its own. docs/trust.md is the protocol.
type SignRequest struct {
	Algorithm string `json:"algorithm"` // "Ed25519" or "P-256"
	Input     string `json:"input"`     // standard base64: the message for Ed25519, its SHA-256 for P-256
	KeyID     string `json:"keyid"`     // hex SHA-256 of the SubjectPublicKeyInfo
	Version   int    `json:"version"`   // 1
}

// SignAnswer is what it answers, in one line: a signature or an error.
type SignAnswer struct {
	Error     string `json:"error,omitempty"`
	Signature string `json:"signature,omitempty"` // standard base64: 64 bytes of Ed25519, DER of P-256
	Version   int    `json:"version"`             // 1
}

// socketSigner is a crypto.Signer behind a socket.
type socketSigner struct {
	socket  string
	public  attest.Public
	key     crypto.PublicKey
	timeout time.Duration
}

func (s *socketSigner) Public() crypto.PublicKey { return s.key }

// Sign asks for a signature. What comes back is checked by who asked: attest.Key.Sign.
func (s *socketSigner) Sign(_ io.Reader, input []byte, _ crypto.SignerOpts) ([]byte, error) {
	sig, err := s.ask(input)
	if err != nil {
		return nil, fmt.Errorf("signer at %s: %w", s.socket, err)
	}
	return sig, nil
}

func (s *socketSigner) ask(input []byte) (sig []byte, err error) {
	end := time.Now().Add(s.timeout)
	conn, err := (&net.Dialer{Deadline: end}).Dial("unix", s.socket)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }() // what it answered was read, or it failed before
	if err := conn.SetDeadline(end); err != nil {
		return nil, err
	}
	request, err := json.Marshal(SignRequest{Algorithm: string(s.public.Alg), Input: base64.StdEncoding.EncodeToString(input), KeyID: s.public.ID, Version: 1})
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(append(request, '\n')); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(io.LimitReader(conn, maxAnswer)).ReadBytes('\n')
	switch {
	case errors.Is(err, io.EOF) && len(line) == maxAnswer:
		return nil, fmt.Errorf("it answers more than %d bytes", maxAnswer)
	case errors.Is(err, io.EOF):
		return nil, errors.New("it ended before it had answered")
	case err != nil:
		return nil, err
	}
	var a SignAnswer
	if err := strict.Decode(bytes.TrimSpace(line), &a); err != nil {
		return nil, fmt.Errorf("its answer is not of the protocol: %w", err)
	}
	switch {
	case a.Version != 1:
		return nil, fmt.Errorf("it answers in version %d of the protocol, want 1", a.Version)
	case a.Error != "":
		return nil, fmt.Errorf("it refuses: %.200q", a.Error)
	case a.Signature == "":
		return nil, errors.New("its answer has neither a signature nor an error")
	}
	if sig, err = base64.StdEncoding.Strict().DecodeString(a.Signature); err != nil {
		return nil, fmt.Errorf("its signature: %w", err)
	}
	return sig, nil
}

// openSigner opens a key behind a socket, and has it sign something that nobody else takes for a statement: a signer
// that is gone, does not answer or has another key is found out now.
func openSigner(name string, data []byte, role string) (*attest.Key, error) {
	refuse := func(problem, hint string) error {
		return &attest.KeyFileError{File: name, Problem: problem, Hint: hint}
	}
	var f SignerFile
	if err := strict.Decode(data, &f); err != nil {
		return nil, refuse(fmt.Sprintf("is not the description of a signer: %v", err), "docs/trust.md says what it holds; expunge key init --signer makes one")
	}
	if f.Schema != SignerSchema || !filepath.IsAbs(f.Socket) || f.TimeoutSeconds < 0 || f.TimeoutSeconds > 600 {
		return nil, refuse("has another schema, a socket without an absolute path, or a time of more than 600 seconds", "docs/trust.md says what it holds")
	}
	trust, err := attest.ParseTrust([]byte(f.PublicKey))
	if err != nil || len(trust.Keys()) != 1 {
		return nil, refuse("does not hold one public key in PEM", "docs/trust.md says what it holds")
	}
	public := trust.Keys()[0].Public
	s := &socketSigner{socket: f.Socket, public: public, key: public.Key(), timeout: defaultTimeout}
	if f.TimeoutSeconds > 0 {
		s.timeout = time.Duration(f.TimeoutSeconds) * time.Second
	}
	k, err := attest.NewKey(s, role)
	if err != nil {
		return nil, refuse(err.Error(), "a signer has an Ed25519 or a P-256 key")
	}
	nonce := make([]byte, 16)
	rand.Read(nonce)
	if _, err := k.Sign([]byte("expunge signer probe 1 " + hex.EncodeToString(nonce))); err != nil {
		return nil, refuse(err.Error(), "start the signer, and see that it has key "+public.ID)
	}
	return k, nil
}
