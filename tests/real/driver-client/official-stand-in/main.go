// Takes the place of the official AWS provider 3.1.1 where a test switches from it and back: it starts, writes and ends as that
// one does, but finds its values in a directory instead of asking AWS for them.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"google.golang.org/grpc"
	"sigs.k8s.io/secrets-store-csi-driver/provider/v1alpha1"
)

type server struct {
	v1alpha1.UnimplementedCSIDriverProviderServer
	// A file for each that a mount gets.
	source string
}

func (s *server) Version(context.Context, *v1alpha1.VersionRequest) (*v1alpha1.VersionResponse, error) {
	return &v1alpha1.VersionResponse{Version: "v1alpha1", RuntimeName: "official-stand-in", RuntimeVersion: "3.1.1"}, nil
}

func (s *server) Mount(_ context.Context, request *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
	entries, err := os.ReadDir(s.source)
	if err != nil {
		return nil, err
	}
	answer := &v1alpha1.MountResponse{}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(s.source, entry.Name()))
		if err != nil {
			return nil, err
		}
		if err := write(request.GetTargetPath(), entry.Name(), content); err != nil {
			return nil, err
		}
		hash := sha256.Sum256(content)
		answer.ObjectVersion = append(answer.ObjectVersion,
			&v1alpha1.ObjectVersion{Id: entry.Name(), Version: hex.EncodeToString(hash[:])})
	}
	return answer, nil
}

// A temporary file beside it, renamed onto it.
func write(directory, name string, content []byte) error {
	temporary, err := os.CreateTemp(directory, name)
	if err != nil {
		return err
	}
	_, written := temporary.Write(content)
	if err := errors.Join(temporary.Chmod(0o644), written, temporary.Sync(), temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), filepath.Join(directory, name))
}

func main() {
	sockets := flag.String("provider-volume", "", "directory of the socket")
	source := flag.String("source", "", "directory of the values")
	flag.Parse()

	socket := filepath.Join(*sockets, "aws.sock")
	// Whoever's it is, at the start and at the end.
	os.Remove(socket)
	listener, err := net.Listen("unix", socket)
	if err != nil {
		log.Fatal(err)
	}
	serving := grpc.NewServer()
	v1alpha1.RegisterCSIDriverProviderServer(serving, &server{source: *source})
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-told
		serving.GracefulStop()
	}()
	failure := serving.Serve(listener)
	os.Remove(socket)
	if failure != nil && !strings.Contains(failure.Error(), "closed") {
		log.Fatal(failure)
	}
}
