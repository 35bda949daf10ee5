"""Load for Mercurial servers: requests of a client, sent without the client's own work."""
