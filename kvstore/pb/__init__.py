"""Protobuf modules generated from `proto/kvstore/pb/*.proto` (`make proto`); nothing here is edited or committed."""
