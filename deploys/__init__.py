"""Deploys of Photon Fleet: entry files for pyinfra, the policies they apply and the proof of them."""
