"""The addresses of the CRM."""

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView
from django.views.i18n import set_language
from drf_spectacular.views import SpectacularAPIView
from rest_framework.authtoken.views import obtain_auth_token

from crm import views

urlpatterns = [
    path("", views.contacts, name="contacts"),
    path("contacts/<int:pk>/", views.contact, name="contact"),
    path("inbox/", views.inbox, name="inbox"),
    path("inbox/mine/", views.my_inbox, name="my_inbox"),
    path("teams/<slug:slug>/", views.team, name="team"),
    path("theme/", views.theme, name="theme"),
    path("language/", set_language, name="set_language"),
    path("sign-in/", views.SignIn.as_view(), name="login"),
    path("sign-out/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    # Browsers request it for pages that name no icon, such as the admin's.
    path("favicon.ico", RedirectView.as_view(url=static("crm/favicon.svg"))),
    path("kapso-inbox/", include("kapso_inbox.urls")),
    path("api/kapso-inbox/", include("kapso_inbox.api.urls")),
    path("api/token/", obtain_auth_token),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
]
