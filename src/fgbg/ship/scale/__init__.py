"""Prediction by many processes, on one machine or several, over Ray Data."""
