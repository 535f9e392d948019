// Takes the place of the official AWS provider 3.1.1 where a test switches from it and back: it starts, writes and ends as that
// one does, but finds its values in a directory instead of asking AWS for them.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"google.golang.org/grpc"
	"secretmount.dev/tests/driver-client/official"
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
		if err := official.Write(request.GetTargetPath(), entry.Name(), 0o644, string(content)); err != nil {
			return nil, err
		}
		hash := sha256.Sum256(content)
		answer.ObjectVersion = append(answer.ObjectVersion,
			&v1alpha1.ObjectVersion{Id: entry.Name(), Version: hex.EncodeToString(hash[:])})
	}
	return answer, nil
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
	if failure != nil {
		log.Fatal(failure)
	}
}
