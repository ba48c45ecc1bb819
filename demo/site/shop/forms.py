"""What visitors may fill in."""

from django import forms

from .models import Review


class ReviewForm(forms.ModelForm):
    """A review by somebody who has not signed in."""

    class Meta:
        model = Review
        fields = ["stars", "text"]
