"""What the end-to-end tests are made of: daemons, servers, clients and the messages they keep."""
